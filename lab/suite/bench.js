const list = document.getElementById("requests"), done = document.getElementById("done")
const source = new EventSource("/requests")
let items = {}
source.onopen = () => { items = {}; list.replaceChildren() }
source.onmessage = event => {
  const request = JSON.parse(event.data)
  document.getElementById("none").hidden = true
  let item = items[request.number]
  if (!item) list.append(item = items[request.number] = document.createElement("li"))
  item.className = request.status >= 400 ? "bad" : request.status ? "" : "wait"
  item.textContent = request.time + "  " + request.text
}
document.querySelector("form").onsubmit = event => {
  event.preventDefault()
  const button = event.submitter, body = new URLSearchParams(new FormData(event.target))
  body.set("what", button.value)
  fetch("/do", {method: "POST", body}).then(
    response => done.textContent = (response.ok ? "Done: " : "Not done: ") + button.textContent + ", " + new Date().toLocaleTimeString("en-GB"),
    () => done.textContent = "Not done: the lab has ended")
}
