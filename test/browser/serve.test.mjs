// The page of handstamp serve.
import assert from "node:assert/strict"
import { createServer } from "node:http"
import { after, before, describe, it } from "node:test"
import { Browser, checkPage, missing, Programs, until } from "./lib.mjs"

describe("serve", { skip: missing }, () => {
  let programs, browser, lab, page, served
  before(async () => {
    programs = new Programs()
    browser = await Browser.start()
    lab = await programs.lab({ consent: "page" })
    served = await programs.start("handstamp", "serve", lab.mcp, "--json", "--no-browser")
    page = await browser.page()
  })
  after(async () => { await browser.close(); await programs.end() })

  const button = name => page.getByRole("button", { name })
  const meter = () => page.getByRole("meter")
  const signedOut = () => page.getByText("Not signed in").waitFor()

  // allow continues the login in the tab that a link opens.
  async function allow(open) {
    const popup = page.context().waitForEvent("page")
    await open()
    const tab = await popup
    await tab.getByRole("button", { name: "Allow" }).click()
    await tab.getByText("You are signed in to").waitFor()
    await tab.close()
    await meter().waitFor()
  }

  it("takes the key out of the address, and needs it", async () => {
    await page.goto(served.url)
    assert.match(page.url(), /^http:\/\/127\.0\.0\.1:\d+\/[A-Z2-7]+\/$/)
    await signedOut()
    await checkPage(page, "signed out")
    const stranger = await browser.page()
    await stranger.goto(page.url())
    await stranger.getByText("This page needs its link.").waitFor()
    await checkPage(stranger, "no link")
  })

  it("signs in, and shows the bar move", async () => {
    await button("Sign in").click()
    await page.getByText("Waiting for you.").waitFor()
    await checkPage(page, "waiting")
    await allow(() => page.getByRole("link", { name: "Continue" }).click())
    await page.locator("#log .good", { hasText: /Signed in$/ }).waitFor()
    await checkPage(page, "signed in")
    const before = await meter().evaluate(m => m.value)
    assert.ok(before > 0)
    await until(async () => await meter().evaluate(m => m.value) < before, "the bar does not move")
  })

  it("shows an MCP host's configuration, with which the server can be reached", async () => {
    await button(/^Use .* in an MCP host$/).click()
    const config = JSON.parse(await page.locator("#configuration").innerText())
    await checkPage(page, "configuration")
    const [{ url, headers }] = Object.values(config.mcpServers)
    const message = { jsonrpc: "2.0", id: 1, method: "initialize", params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } } }
    const response = await fetch(url, { method: "POST", body: JSON.stringify(message),
      headers: { ...headers, "Content-Type": "application/json", Accept: "application/json, text/event-stream" } })
    assert.equal(response.status, 200)
    assert.match(await response.text(), /serverInfo/)
    await page.getByRole("link", { name: "All servers" }).click()
    await meter().waitFor()
  })

  it("shows how the sign-in went", async () => {
    await page.getByRole("link", { name: /How the sign-in/ }).click()
    await page.getByText("/authorize").first().waitFor()
    await checkPage(page, "diagram")
    await page.goBack()
    await meter().waitFor()
  })

  it("shows what another process does", async () => {
    assert.equal((await programs.run("logout", lab.mcp)).code, 0)
    await signedOut()
  })

  it("works by keyboard alone", async () => {
    const focused = () => page.evaluate(() => document.activeElement.textContent)
    async function tabTo(name) {
      for (let i = 0; i < 30; i++) {
        await page.keyboard.press("Tab")
        if ((await focused()).startsWith(name)) return
      }
      assert.fail("Tab does not lead to " + name)
    }
    await page.reload()
    await page.getByText("Live").waitFor()
    await tabTo("Sign in")
    await page.keyboard.press("Enter")
    await page.getByRole("link", { name: "Continue" }).waitFor()
    await until(async () => {
      const at = await focused()
      if (at.startsWith("Cancel")) await page.keyboard.press("Shift+Tab")
      return at.startsWith("Continue")
    }, "the focus is lost when the button goes")
    await allow(() => page.keyboard.press("Enter"))
    await page.locator("#news", { hasText: /: Signed in$/ }).waitFor({ state: "attached" })
    await page.getByRole("link", { name: /How the sign-in/ }).waitFor()
    await tabTo("Sign out")
    await page.keyboard.press("Space")
    await signedOut()
    await page.locator("#log").getByText("revoked at the server").waitFor()
    await until(async () => (await focused()).startsWith("Sign in"), "the focus is lost: " + await focused())
  })

  it("cancels a sign-in", async () => {
    await button("Sign in").click()
    await button("Cancel").click()
    await button("Sign in").waitFor()
    await page.locator("#log").getByText("The sign-in was cancelled").first().waitFor()
  })

  it("is open in more tabs than a browser has connections", async () => {
    const setHidden = (tab, hidden) => tab.evaluate(hidden => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true })
      document.dispatchEvent(new Event("visibilitychange"))
    }, hidden)
    const first = await browser.page(), tabs = [first]
    for (let i = 0; i < 8; i++) {
      await tabs.at(-1).goto(served.url)
      await tabs.at(-1).getByText("Live").waitFor()
      await setHidden(tabs.at(-1), true)
      tabs.push(await first.context().newPage())
    }
    await setHidden(first, false)
    assert.equal((await programs.login(tabs.at(-1), lab.mcp)).code, 0)
    await first.getByRole("meter").waitFor()
    assert.equal((await programs.run("logout", lab.mcp)).code, 0)
    await first.getByText("Not signed in").waitFor()
    await first.context().close()
  })

  it("says what to do where the server has ended the login", async () => {
    await button("Sign in").click()
    await allow(() => page.getByRole("link", { name: "Continue" }).click())
    const bench = await browser.page()
    await bench.goto(lab.page)
    await bench.getByRole("button", { name: "grant revoked" }).click()
    await bench.getByText("Done: grant revoked").waitFor()
    await programs.run("token", lab.mcp, "--refresh")
    await page.getByText("Signed out by the server").waitFor()
    await page.getByText("Sign in again.").waitFor()
    await checkPage(page, "ended")
  })

  it("runs nothing of a program that had the port before", async () => {
    const planted = "document.title = 'planted'"
    const squatter = createServer((request, response) => {
      response.setHeader("Cache-Control", "max-age=86400")
      if (request.url === "/worker.js") {
        response.setHeader("Content-Type", "text/javascript").end("addEventListener('fetch', () => {})")
      } else if (request.url === "/page.js") {
        response.setHeader("Content-Type", "text/javascript").end(planted)
      } else {
        response.setHeader("Content-Type", "text/html").end(`<script>${planted}</script><script src="/page.js"></script>`)
      }
    })
    await new Promise(done => squatter.listen(0, "127.0.0.1", done))
    const port = squatter.address().port, victim = await browser.page()
    const workers = () => victim.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length)
    await victim.goto(`http://127.0.0.1:${port}/`)
    await victim.evaluate(async () => { await navigator.serviceWorker.register("/worker.js"); await navigator.serviceWorker.ready })
    assert.equal(await victim.title(), "planted")
    assert.equal(await workers(), 1)
    squatter.closeAllConnections()
    await new Promise(done => squatter.close(done))

    const later = await programs.start("handstamp", "serve", lab.mcp, "--json", "--no-browser", "--port", String(port))
    await victim.goto(later.url)
    await victim.getByText("Live").waitFor()
    assert.equal(await victim.title(), "Handstamp")
    assert.equal(await workers(), 0)
    await victim.goto(`http://127.0.0.1:${port}/`)
    await victim.getByText("This page needs its link.").waitFor()
  })

  it("works without script", async () => {
    const plain = await browser.page({ javaScriptEnabled: false })
    await plain.goto(served.url)
    await plain.getByRole("button", { name: "Remove" }).click()
    await plain.getByText("Not signed in").waitFor()
  })

  it("says when the command has ended", async () => {
    served.child.kill("SIGINT")
    await page.getByText("is handstamp serve still running?").waitFor()
    browser.complaints = browser.complaints.filter(text => !text.includes("ERR_"))
  })
})
