// Takes the screenshots of the documentation: make screenshots.
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { Browser, Programs, root } from "./lib.mjs"

const folder = process.argv[2] || join(root, "docs/screenshots")
mkdirSync(folder, { recursive: true })
const programs = new Programs(), browser = await Browser.start()

async function shot(page, name, { dark = false, width = 860 } = {}) {
  await page.emulateMedia({ colorScheme: dark ? "dark" : "light", reducedMotion: "reduce" })
  await page.setViewportSize({ width, height: 300 })
  const height = await page.evaluate(() => document.documentElement.scrollHeight)
  await page.screenshot({ path: join(folder, name + ".png"), fullPage: true, clip: { x: 0, y: 0, width, height: Math.min(height, 1000) } })
}

try {
  const lab = await programs.lab({ consent: "page" }, "consent")
  const other = await programs.lab({}, "other")
  const third = await programs.lab("rotates-strictly")
  programs.configure({ notes: lab.mcp, tickets: other.mcp, wiki: third.mcp })
  const tab = await browser.page()
  await programs.login(tab, "tickets")
  await programs.login(tab, "wiki")
  const served = await programs.start("handstamp", "serve", "--json", "--no-browser")
  const bench = await browser.page()
  await bench.goto(third.page)
  await bench.getByRole("button", { name: "grant revoked" }).click()
  await bench.getByText("Done: grant revoked").waitFor()
  await programs.run("token", "wiki", "--refresh")

  const page = await browser.page()
  await page.goto(served.url)
  await page.getByText("Live").waitFor()
  await page.getByRole("button", { name: "Sign in to notes" }).click()
  await page.getByRole("link", { name: "Continue" }).waitFor()
  await shot(page, "serve-waiting")
  const popup = page.context().waitForEvent("page")
  await page.getByRole("link", { name: "Continue" }).click()
  const login = await popup
  await login.getByRole("button", { name: "Allow" }).click()
  await login.getByText("You are signed in").waitFor()
  await shot(login, "login-success", { width: 640 })
  await page.locator("#log .good", { hasText: /Signed in$/ }).waitFor()
  await shot(page, "serve")
  await shot(page, "serve-dark", { dark: true })
  await shot(page, "serve-narrow", { width: 320 })
  await page.getByRole("link", { name: "How the sign-in to notes went" }).click()
  await shot(page, "serve-diagram", { width: 1100 })
  await page.goBack()
  await page.getByRole("button", { name: "Use notes in an MCP host" }).click()
  await page.locator("#configuration").waitFor()
  await shot(page, "serve-configuration")

  const deny = await programs.lab({ consent: "deny" })
  await programs.login(tab, deny.mcp)
  await shot(tab, "login-denied", { width: 640 })
  await bench.locator("#requests li").first().waitFor()
  await shot(bench, "lab-serve")
  const report = join(programs.home, "report.html")
  await programs.run("lab", "run", "--personality", "none-first,dcr-off,rotates-strictly,flaky", "--condition", "warm,expired,grant revoked",
    "--processes", "1", "--client-http", "false", "--html", report)
  await page.goto(pathToFileURL(report).href)
  await shot(page, "lab-report")
} finally {
  await browser.close()
  await programs.end()
}
