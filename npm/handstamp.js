#!/usr/bin/env node
// Runs the command's binary, which npm has installed from the package of this system.
"use strict";

const { spawn } = require("node:child_process");
const os = require("node:os");
const tty = require("node:tty");

const name = `@handstamp/${process.platform}-${process.arch}`;
let binary;
try {
  binary = require.resolve(`${name}/handstamp${process.platform === "win32" ? ".exe" : ""}`);
} catch {
  const supported = Object.keys(require("./package.json").optionalDependencies || {});
  console.error(
    supported.includes(name)
      ? `handstamp: the package ${name} is missing. Install without --omit=optional and --no-optional.`
      : `handstamp: there is no binary for ${process.platform} on ${process.arch}.`,
  );
  process.exit(1);
}

const child = spawn(binary, process.argv.slice(2), { stdio: "inherit" });
// The command decides how it ends. A terminal signals both processes by itself, and a second
// SIGINT would end the command at once.
const terminal = [0, 1, 2].some((fd) => tty.isatty(fd));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    if (!terminal || signal === "SIGTERM") child.kill(signal);
  });
}
child.on("error", (error) => {
  console.error(`handstamp: ${error.message}`);
  process.exit(1);
});
child.on("exit", (code, signal) => {
  process.exit(signal ? 128 + os.constants.signals[signal] : code);
});
