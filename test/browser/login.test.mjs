// The pages that a login ends at, as the command shows them.
import assert from "node:assert/strict"
import { after, before, describe, it } from "node:test"
import { Browser, checkPage, missing, Programs } from "./lib.mjs"

describe("login pages", { skip: missing }, () => {
  let programs, browser
  before(async () => { programs = new Programs(); browser = await Browser.start() })
  after(async () => { await browser.close(); await programs.end() })

  // shown checks the page and returns its text.
  async function shown(page, name) {
    await checkPage(page, name)
    assert.match(await page.title(), /Handstamp/, name)
    return page.locator("main").innerText()
  }

  it("is checked by what would notice", async () => {
    const page = await browser.page()
    await page.setContent("<title>x</title><body style='background:#fff'><img src='data:,'><button></button>")
    await assert.rejects(checkPage(page, "control"), /image-alt[^]*button-name|button-name[^]*image-alt/)
    await page.setContent("<html lang=en><title>x</title><style>:root{color-scheme:light dark}body{background:light-dark(#fff,#000)}</style><body><main><h1>x</h1><p style='width:400px'>x</p></main>")
    await assert.rejects(checkPage(page, "control"), /px wide in a window of 320/)
  })

  it("says who is signed in where, after the login is stored", async () => {
    const lab = await programs.lab({ consent: "page" })
    const page = await browser.page()
    const { code } = await programs.login(page, lab.mcp)
    assert.equal(code, 0)
    const text = await shown(page, "success")
    assert.ok(text.includes("You are signed in to " + lab.mcp.replace("http://", "") + "."), text)
    assert.match(text, /close this tab and go back to Handstamp/)
    assert.ok(!page.url().includes("code="), "the code stays in the address: " + page.url())
  })

  it("says that access was denied, and where to go on", async () => {
    const lab = await programs.lab({ consent: "deny" })
    const page = await browser.page()
    const { code } = await programs.login(page, lab.mcp)
    assert.equal(code, 5)
    const text = await shown(page, "denied")
    assert.match(text, /Sign-in to 127\.0\.0\.1:\d+\/mcp failed/)
    assert.match(text, /denied/)
    assert.match(text, /go back to Handstamp\. It shows what to do next/)
  })

  it("says what is wrong where the response is not to be believed", async () => {
    const lab = await programs.lab({ iss: "wrong" })
    const page = await browser.page()
    const { code } = await programs.login(page, lab.mcp)
    assert.equal(code, 6)
    const text = await shown(page, "error")
    assert.match(text, /Sign-in to .* failed/)
    assert.match(text, /go back to Handstamp/)
  })

  it("says what to do where the login is over, or another one's", async () => {
    const pages = await programs.start("loginpages")
    const page = await browser.page()
    for (const [name, what] of Object.entries({
      expired: /This sign-in has expired\.[^]*go back to Handstamp and start again/,
      stranger: /does not belong to the current sign-in\.[^]*goes on in Handstamp/,
      unbound: /reported an error\.[^]*access_denied[^]*Handstamp keeps waiting/,
      unfinished: /The sign-in to mcp\.example\.com\/mcp was not finished\.[^]*Go back to Handstamp/,
    })) {
      await page.goto(pages[name])
      assert.match(await shown(page, name), what)
    }
    pages.child.stdin.end()
  })
})
