// A program on the official TypeScript SDK, as its documentation has one write
// it: everything that the SDK gives to be kept is kept in a file, and given back
// as it was.
import { spawn } from "node:child_process"
import { readFileSync, renameSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { homedir } from "node:os"
import { join } from "node:path"
import { randomUUID } from "node:crypto"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js"
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"

const url = new URL(process.argv[2])
const file = join(homedir(), "tssdk.json")

let kept = {}
try {
  kept = JSON.parse(readFileSync(file, "utf8"))
} catch {
  // The first session.
}
function keep(part) {
  kept = { ...kept, ...part }
  const next = `${file}.${process.pid}`
  writeFileSync(next, JSON.stringify(kept), { mode: 0o600 })
  renameSync(next, file)
}

// The callback comes to the port of the last session where it is free.
let received
const code = new Promise((resolve, reject) => (received = { resolve, reject }))
const state = randomUUID()
const listener = createServer((request, response) => {
  const query = new URL(request.url, "http://127.0.0.1").searchParams
  if (query.get("state") !== state) {
    response.writeHead(400).end("this is not the awaited callback")
    return
  }
  response.end("done")
  if (query.get("code")) received.resolve(query.get("code"))
  else received.reject(new Error(`the login failed: ${query.get("error")}`))
})
const listen = port => new Promise((resolve, reject) => listener.once("error", reject).listen(port, "127.0.0.1", resolve))
await listen(kept.port ?? 0).catch(() => listen(0))
const port = listener.address().port
listener.unref()

const provider = {
  get redirectUrl() { return `http://127.0.0.1:${port}/callback` },
  get clientMetadata() {
    return {
      client_name: "A program on the TypeScript SDK",
      redirect_uris: [this.redirectUrl],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
    }
  },
  state: () => state,
  clientInformation: () => kept.client,
  saveClientInformation: client => keep({ client, port }),
  tokens: () => kept.tokens,
  saveTokens: tokens => keep({ tokens }),
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: verifier => keep({ verifier }),
  discoveryState: () => kept.discovery,
  saveDiscoveryState: discovery => keep({ discovery }),
  invalidateCredentials: scope => {
    const parts = { all: ["client", "tokens", "verifier", "discovery"], client: ["client"], tokens: ["tokens"], verifier: ["verifier"], discovery: ["discovery"] }
    keep(Object.fromEntries(parts[scope].map(name => [name, undefined])))
  },
  redirectToAuthorization: address => { spawn("xdg-open", [address.href], { stdio: "ignore" }) },
}

async function call() {
  const transport = new StreamableHTTPClientTransport(url, { authProvider: provider })
  const client = new Client({ name: "tssdk", version: "1" })
  try {
    await client.connect(transport)
    const result = await client.callTool({ name: "echo", arguments: { text: "hello" } })
    if (result.content[0].text !== "hello") throw new Error("the tool returns another text")
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error
    listener.ref()
    await transport.finishAuth(await code)
    return false
  } finally {
    await client.close()
  }
  return true
}

try {
  if (!(await call()) && !(await call())) throw new Error("the second try needs a login, too")
  process.exit(0)
} catch (error) {
  console.error(String(error))
  process.exit(1)
}
