// Plays scenarios of the official suite, one after the other. The suite's own command plays
// one and exits, and what it loads costs far more than a scenario. Here the packages that it
// imports are loaded once; its program is evaluated again for each scenario, so that none
// begins with what another one left.
//
// Reads lines of {args, env}, and writes for each a line of {code, out}: what the suite would
// have exited with, and what it printed.
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const suite = pathToFileURL(process.argv[2]).href;
const reply = process.stdout.write.bind(process.stdout);

let out = '';
process.stdout.write = process.stderr.write = chunk => {
  out += chunk;
  return true;
};
process.on('exit', () => writeSync(2, out)); // of a scenario that ends this process

let exited;
process.exit = code => exited(code); // the first counts

let played = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const { args, env } = JSON.parse(line);
  process.argv = [process.argv[0], suite, ...args];
  Object.assign(process.env, env);
  const code = new Promise(resolve => { exited = resolve; });
  await import(`${suite}?played=${++played}`);
  reply(JSON.stringify({ code: await code, out }) + '\n');
  out = '';
  for (const name in env) delete process.env[name];
}
