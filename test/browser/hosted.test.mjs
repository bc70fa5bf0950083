// The pages of examples/hosted: an application of two replicas.
import assert from "node:assert/strict"
import { after, before, describe, it } from "node:test"
import { Browser, checkPage, missing, Programs } from "./lib.mjs"
import { missing as noPostgres, Postgres } from "./postgres.mjs"

describe("hosted", { skip: missing || noPostgres }, () => {
  let programs, postgres, browser, lab, one, two
  before(async () => {
    postgres = await Postgres.start()
    programs = new Programs()
    browser = await Browser.start()
    lab = await programs.lab({ consent: "page" })
    process.env.DATABASE_URL = postgres.url()
    process.env.HOSTED_SECRET = "5a".repeat(32)
    two = (await programs.start("hosted", lab.mcp)).url
    one = (await programs.start("hosted", "-callback", two + "/oauth/callback", lab.mcp)).url
  })
  after(async () => { await browser.close(); await programs.end(); await postgres.end() })

  const button = (page, name) => page.getByRole("button", { name: new RegExp("^" + name) })

  // user returns a page of a browser in which a user has a session. There are no scripts.
  async function user(name) {
    const page = await browser.page({ javaScriptEnabled: false })
    await page.goto(one)
    await page.getByLabel("Your name").fill(name)
    await page.getByLabel("Your name").press("Enter")
    await page.getByText(`You are ${name}.`).waitFor()
    return page
  }

  async function call(page, replica, text) {
    await page.goto(replica + "/servers")
    await page.getByLabel("Arguments").fill(JSON.stringify({ text }))
    await button(page, "Call").click()
    await page.getByRole("heading", { name: "The tool's result" }).waitFor()
    assert.equal(await page.getByText(text, { exact: true }).count(), 1)
  }

  it("begins a login at one replica and ends it at the other; both call tools then", async () => {
    const page = await user("ada")
    assert.ok(page.url().startsWith(one))
    await button(page, "Connect").click()
    await button(page, "Allow").waitFor()
    assert.ok(![one, two].includes(new URL(page.url()).origin), page.url())
    await button(page, "Allow").click()
    await page.getByText("connected", { exact: true }).waitFor()
    assert.equal(page.url(), two + "/servers")
    await call(page, two, "hello from two")
    await call(page, one, "hello from one")
    await page.goto(one + "/servers")
    await button(page, "Disconnect").click()
    await page.getByText("not connected").waitFor()
    await page.goto(two + "/servers")
    assert.equal(await button(page, "Call").count(), 0)
  })

  it("rejects a callback in the browser of another user", async () => {
    const attacker = await user("eve")
    await button(attacker, "Connect").click()
    const form = await attacker.locator("form").first().getAttribute("action")
    const allowed = await attacker.request.post(new URL(form, attacker.url()).href, { maxRedirects: 0 })
    const callback = allowed.headers().location
    assert.ok(callback.startsWith(two + "/oauth/callback?"), callback)
    const victim = await user("ada")
    await victim.goto(callback)
    await victim.getByText("started in another browser or session").waitFor()
    await victim.getByRole("link", { name: "Your servers" }).click()
    await victim.getByText("not connected").waitFor()
  })

  it("has pages that all can use", async () => {
    const page = await browser.page()
    await page.goto(one)
    await checkPage(page, "start")
    await page.getByLabel("Your name").fill("ben")
    await button(page, "Go on").click()
    await page.getByText("You are ben.").waitFor()
    await checkPage(page, "servers")
    await button(page, "Connect").click()
    await button(page, "Allow").click()
    await page.getByText("connected", { exact: true }).waitFor()
    await checkPage(page, "connected")
    await button(page, "Call").click()
    await checkPage(page, "result")
    await page.goto(two + "/oauth/callback?code=x&state=y")
    await checkPage(page, "failed")
  })
})
