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
  await page.screenshot({ path: join(folder, name + ".png"), fullPage: true })
}

try {
  const lab = await programs.lab({ consent: "page" }, "consent")
  const other = await programs.lab({}, "other")
  const third = await programs.lab({}, "third")
  const tab = await browser.page()
  await programs.login(tab, other.mcp)
  await programs.login(tab, third.mcp)
  const served = await programs.start("handstamp", "serve", lab.mcp, other.mcp, third.mcp, "--json", "--no-browser")
  const bench = await browser.page()
  await bench.goto(third.page)
  await bench.getByRole("button", { name: "grant revoked" }).click()
  await bench.getByText("Done: grant revoked").waitFor()
  await programs.run("token", third.mcp, "--refresh")

  const page = await browser.page()
  await page.goto(served.url)
  await page.getByText("Live").waitFor()
  await page.getByRole("button", { name: "Sign in to " + lab.mcp.replace("http://", "") }).click()
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
  if (await page.getByRole("link", { name: "How the sign-in went" }).count()) {
    await page.getByRole("link", { name: "How the sign-in went" }).click()
    await shot(page, "serve-diagram", { width: 1100 })
    await page.goBack()
  }
  await page.getByRole("button", { name: "Use in an MCP host: " + lab.mcp.replace("http://", "") }).click()
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
