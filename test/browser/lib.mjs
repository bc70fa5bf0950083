// What the tests and the screenshots share: the programs, a browser that notes what it requests,
// and the checks that hold for every page.
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"

export const root = new URL("../..", import.meta.url).pathname
export const bin = join(root, "bin/test/browser")
const chromiumPath = process.env.CHROMIUM || "/usr/bin/chromium"

// A busy machine may take long: what is awaited is a condition, never a time.
export const patience = Number(process.env.PATIENCE || 120) * 1000

// missing is why nothing can be tested here, or false.
export const missing = !existsSync(chromiumPath) &&
  !/\bbrowser\b/.test(process.env.HANDSTAMP_TEST_REQUIRE || "") && `there is no ${chromiumPath}`

// Programs end with the object that started them.
export class Programs {
  home = mkdtempSync(join(tmpdir(), "handstamp-browser-"))
  running = []

  // start runs one of our programs and resolves with its first line on standard output, parsed.
  async start(name, ...args) {
    const child = this.spawn(name, args)
    const lines = createInterface({ input: child.stdout })
    const text = []
    for await (const line of lines) {
      text.push(line)
      try { return { ...JSON.parse(text.join("\n")), child } } catch { /* it goes on */ }
    }
    throw new Error(`${name} ${args} has ended: ${text.join("\n")} ${child.errors}`)
  }

  // run runs the command to its end.
  run(...args) {
    const child = this.spawn("handstamp", args)
    return new Promise(done => child.on("close", code => done({ code, errors: child.errors })))
  }

  spawn(name, args) {
    const opened = join(this.home, "opened")
    const browser = join(this.home, "browser.sh")
    writeFileSync(browser, `#!/bin/sh\nprintf '%s\\n' "$1" > '${opened}.new' && mv '${opened}.new' '${opened}'\n`, { mode: 0o755 })
    const child = spawn(join(bin, name), args, { env: {
      ...process.env, HANDSTAMP_HOME: join(this.home, "handstamp"), HANDSTAMP_BROWSER: browser, NO_COLOR: "1",
      HTTPS_PROXY: "", HTTP_PROXY: "",
    } })
    child.errors = ""
    child.stderr.on("data", data => child.errors += data)
    this.running.push(child)
    return child
  }

  // opened resolves with the next address that a login opens.
  async opened() {
    const file = join(this.home, "opened")
    await until(() => existsSync(file), "no browser was opened")
    const address = readFileSync(file, "utf8").trim()
    rmSync(file)
    return address
  }

  async lab(habits, name = "test") {
    return this.start("handstamp", "lab", "serve", "--json", "--personality",
      typeof habits === "string" ? habits : JSON.stringify({ name, habit: "A server of the test.", habits }))
  }

  // login signs in with a browser that allows everything.
  async login(page, server, ...flags) {
    const ended = this.run("login", server, ...flags)
    await page.goto(await this.opened())
    if (await page.getByRole("button", { name: "Allow" }).count()) {
      await page.getByRole("button", { name: "Allow" }).click()
    }
    return ended
  }

  async end() {
    for (const child of this.running) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const closed = new Promise(done => child.on("close", done))
      child.kill("SIGINT")
      await closed
    }
    rmSync(this.home, { recursive: true, force: true })
  }
}

// until awaits a condition.
export async function until(condition, message) {
  for (const end = Date.now() + patience; !await condition();) {
    assert.ok(Date.now() < end, message)
    await new Promise(done => setTimeout(done, 50))
  }
}

// Browser is Chromium; its contexts note every request, and whatever a page complains about.
export class Browser {
  requests = []
  complaints = []

  static async start() {
    const { chromium } = await import("playwright-core")
    const b = new Browser()
    b.chromium = await chromium.launch({ executablePath: chromiumPath, timeout: patience,
      args: ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost", "--font-render-hinting=none"] })
    return b
  }

  // page returns a page in a context without cookies.
  async page(options = {}) {
    const context = await this.chromium.newContext({ viewport: { width: 1000, height: 760 }, ...options })
    context.setDefaultTimeout(patience)
    context.on("request", request => this.requests.push(request.url()))
    context.on("console", message => {
      if (message.type() === "error") this.complaints.push(message.text())
    })
    context.on("weberror", error => this.complaints.push(String(error.error())))
    return context.newPage()
  }

  // close checks that nothing left this machine, and that no page broke its own policy.
  async close() {
    await this.chromium.close()
    assert.ok(this.requests.length > 0)
    const outside = this.requests.filter(url => !/^http:\/\/(127\.0\.0\.1|localhost):\d+\//.test(url) && !url.startsWith("file:"))
    assert.deepEqual(outside, [], "requests that leave this machine")
    // The status of a page itself is reported as an error, too.
    assert.deepEqual(this.complaints.filter(text => !/Failed to load resource.*status of (400|401|403|404|410)/.test(text)), [])
  }
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

// checkPage checks what holds for every page: nothing that axe-core finds serious, in light and
// dark, and no scrolling sideways at 320 px.
export async function checkPage(page, name) {
  const size = page.viewportSize()
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" })
    await page.evaluate(axe)
    const { violations } = await page.evaluate(() => globalThis.axe.run(document))
    const serious = violations.filter(v => ["serious", "critical"].includes(v.impact))
    assert.deepEqual(serious.map(v => `${v.id}: ${v.nodes.map(n => n.html + " " + n.failureSummary).join("; ")}`), [], `${name}, ${colorScheme}`)
    const luminance = await page.evaluate(() => {
      const canvas = document.createElement("canvas").getContext("2d")
      canvas.fillStyle = getComputedStyle(document.body).backgroundColor
      canvas.fillRect(0, 0, 1, 1)
      return canvas.getImageData(0, 0, 1, 1).data[0]
    })
    assert.ok(colorScheme === "dark" ? luminance < 60 : luminance > 200, `${name} is not ${colorScheme}: ${luminance}`)
  }
  await page.emulateMedia({ colorScheme: "light", reducedMotion: null })
  await page.setViewportSize({ width: 320, height: 640 })
  const width = await page.evaluate(() => document.documentElement.scrollWidth)
  assert.ok(width <= 320, `${name} is ${width} px wide in a window of 320`)
  await page.setViewportSize(size)
}
