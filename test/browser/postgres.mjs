// A PostgreSQL server of a test's own, on a Unix socket.
import { spawn, spawnSync } from "node:child_process"
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { until } from "./lib.mjs"

// program returns the path of one of the server's programs; Debian has a folder for each version.
function program(name) {
  const folders = (process.env.PATH || "").split(":")
  const debian = "/usr/lib/postgresql"
  if (existsSync(debian)) folders.push(...readdirSync(debian).sort().reverse().map(version => join(debian, version, "bin")))
  return folders.map(folder => join(folder, name)).find(path => existsSync(path))
}

// missing is why there can be no server here, or false.
export const missing = !program("initdb") &&
  !/\bpostgres\b/.test(process.env.HANDSTAMP_TEST_REQUIRE || "") && "PostgreSQL is not installed"

export class Postgres {
  // start resolves with a server that is ready.
  static async start() {
    const p = new Postgres()
    p.dir = mkdtempSync("/tmp/pg") // the path of a socket has at most 107 bytes
    const other = 65534 // a user without rights: PostgreSQL does not run as root
    const root = process.getuid() === 0
    if (root) chownSync(p.dir, other, other)
    const options = { cwd: p.dir, env: { ...process.env, LC_ALL: "C.UTF-8" }, ...root && { uid: other, gid: other } }
    const cluster = join(p.dir, "cluster")
    const made = spawnSync(program("initdb"), ["--pgdata=" + cluster, "--username=postgres", "--auth=trust",
      "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"], options)
    if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`)
    p.server = spawn(program("postgres"), ["-D", cluster, "-k", p.dir, "-h", "", "-p", "5432"], { ...options, stdio: "ignore" })
    await until(() => spawnSync(program("pg_isready"), ["-q", "-h", p.dir, "-p", "5432"]).status === 0, "PostgreSQL does not come up")
    return p
  }

  url() { return `host=${this.dir} port=5432 user=postgres dbname=postgres` }

  async end() {
    const closed = new Promise(done => this.server.on("close", done))
    this.server.kill("SIGINT")
    await closed
    rmSync(this.dir, { recursive: true, force: true })
  }
}
