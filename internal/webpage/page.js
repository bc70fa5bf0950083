"use strict"

const byId = id => document.getElementById(id)

// What is shown again keeps the focus, and what was unfolded.
function showServers(html) {
  const servers = byId("servers")
  const focused = servers.contains(document.activeElement) ? document.activeElement : null
  const card = focused?.closest("article")?.id
  const open = [...servers.querySelectorAll("details[open]")].map(d => d.id)
  servers.innerHTML = html
  for (const id of open) byId(id)?.setAttribute("open", "")
  if (focused) {
    const next = focused.id && byId(focused.id) ||
      byId(card)?.querySelector("#continue, .actions button, .actions a, summary")
    next?.focus()
  }
  tick()
}

function span(seconds) {
  if (seconds < 90) return Math.round(seconds) + " s"
  if (seconds < 90 * 60) return Math.round(seconds / 60) + " min"
  if (seconds < 48 * 3600) return Math.round(seconds / 3600) + " h"
  return Math.floor(seconds / 86400) + " days"
}

// The bar and the first words beside it move with the time.
function tick() {
  for (const life of document.querySelectorAll(".life[data-expires]")) {
    const left = Math.max(0, (life.dataset.expires - Date.now()) / 1000)
    const meter = life.querySelector("meter"), text = life.querySelector("p")
    meter.value = left
    text.textContent = text.textContent.replace(/: .*? left/, ": " + span(left) + " left")
  }
}

function showEvent(event) {
  byId("none").hidden = true
  const item = document.createElement("li"), time = document.createElement("time")
  const text = document.createElement("span"), at = new Date(event.at)
  item.className = event.mark || ""
  time.dateTime = event.at
  time.textContent = at.toLocaleTimeString("en-GB")
  if (event.server) {
    const name = document.createElement("b")
    name.textContent = event.server
    text.append(name, " ")
  }
  text.append(event.text)
  item.append(time, text)
  const log = byId("log")
  log.prepend(item)
  while (log.children.length > 200) log.lastChild.remove()
}

// A browser opens six connections to one address, for all of its tabs together, and the events take
// one: a tab that is not seen gives its own back, so that the others load.
function listen() {
  const connection = byId("connection")
  let source = null, last = -1, opened = 0
  const connect = () => {
    source = new EventSource("events")
    source.onopen = () => {
      connection.textContent = "Live"
      connection.className = "soft"
      byId("log").replaceChildren()
      opened = Date.now()
    }
    source.onerror = () => {
      connection.textContent = "Not connected: is handstamp serve still running?"
      connection.className = "lost"
      last = -1
    }
    source.addEventListener("servers", e => showServers(JSON.parse(e.data).html))
    source.addEventListener("log", e => {
      const event = JSON.parse(e.data)
      showEvent(event)
      if (event.mark && new Date(event.at) > opened - 2000 && event.number > last) {
        byId("news").textContent = (event.server ? event.server + ": " : "") + event.text
      }
      last = event.number
    })
  }
  const follow = () => {
    source?.close()
    source = null
    if (!document.hidden) connect()
  }
  document.addEventListener("visibilitychange", follow)
  follow()
  setInterval(tick, 1000)
}

// Buttons act without the page being loaded again; without this script they are plain forms.
function press(e) {
  const form = e.target
  if (form.dataset.leaves !== undefined) return
  e.preventDefault()
  const button = e.submitter
  button.setAttribute("aria-disabled", "true")
  fetch(form.action, {method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual"})
    .then(response => { if (response.type !== "opaqueredirect") location.reload() })
    .catch(() => location.reload())
    .finally(() => button.removeAttribute("aria-disabled"))
}

function offerCopy() {
  const copy = byId("copy")
  if (!copy || !navigator.clipboard) return
  copy.hidden = false
  copy.onclick = () => navigator.clipboard.writeText(byId("configuration").textContent)
    .then(() => { byId("copied").textContent = "Copied" },
      () => { byId("copied").textContent = "Your browser does not allow it: select the text" })
}

if (byId("servers")) {
  document.addEventListener("submit", press)
  tick()
  listen()
}
offerCopy()
