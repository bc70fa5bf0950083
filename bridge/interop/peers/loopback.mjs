// Node.js loads this before a server that would listen on all addresses of the
// machine, and has no option for it: here it listens on loopback only.
import { Server } from 'node:net';

const listen = Server.prototype.listen;
Server.prototype.listen = function (port, ...rest) {
  const bare = (typeof port === 'number' || typeof port === 'string') && typeof rest[0] !== 'string';
  return bare ? listen.call(this, port, '127.0.0.1', ...rest) : listen.call(this, port, ...rest);
};
