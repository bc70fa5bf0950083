// The page of handstamp lab serve, and the report of handstamp lab run --html.
import assert from "node:assert/strict"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { pathToFileURL } from "node:url"
import { Browser, checkPage, missing, Programs } from "./lib.mjs"

describe("lab", { skip: missing }, () => {
  let programs, browser
  before(async () => { programs = new Programs(); browser = await Browser.start() })
  after(async () => { await browser.close(); await programs.end() })

  it("shows requests as they come, and has a sentence for each button", async () => {
    const lab = await programs.lab("flaky")
    const page = await browser.page()
    await page.goto(lab.page)
    const buttons = page.locator(".buttons li")
    assert.ok(await buttons.count() >= 5)
    for (const text of await buttons.locator("span").allInnerTexts()) assert.match(text, /^[A-Z].{20,}\.$/)
    await checkPage(page, "lab")
    const tab = await browser.page()
    assert.equal((await programs.login(tab, lab.mcp)).code, 0)
    await page.locator("#requests").getByText("register POST /register → 201").waitFor()
    await checkPage(page, "lab with requests")
    await page.getByRole("button", { name: "client forgotten" }).focus()
    await page.keyboard.press("Enter")
    await page.getByText("Done: client forgotten").waitFor()
  })

  it("writes a report that needs nothing else", async () => {
    const report = join(programs.home, "report.html")
    const { code } = await programs.run("lab", "run", "--personality", "none-first,dcr-off", "--condition", "warm,expired",
      "--processes", "1", "--client-http", "false", "--html", report)
    assert.equal(code, 1)
    const page = await browser.page()
    await page.goto(pathToFileURL(report).href)
    await page.getByText("What failed").waitFor()
    assert.equal(await page.locator(".legend li").count(), 3)
    assert.match(await page.locator("dl").innerText(), /Every access token has expired/)
    await page.getByText("what the server saw").first().click()
    await checkPage(page, "report")
  })
})
