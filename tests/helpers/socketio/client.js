// One socket.io-client, told what to do in JSON lines on stdin, saying what happens in JSON lines on stdout.
// node client.js URL {"token": ..., "transports": [...], "origin": ..., "options": {...}}      NODE_PATH names its modules
const { io } = require("socket.io-client");
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const [url, text] = process.argv.slice(2);
const given = JSON.parse(text);
const socket = io(url, {
  path: "/api/xynergyos/v2/stream",
  transports: given.transports,
  auth: { token: given.token },
  extraHeaders: given.origin ? { Origin: given.origin } : {},
  reconnectionDelay: 200,
  ...given.options,
});
socket.on("connect", () => say({ on: "connect", transport: socket.io.engine.transport.name, id: socket.id }));
socket.on("connect_error", (error) =>
  say({ on: "connect_error", message: error.message, data: error.data, active: socket.active, status: error.context?.status }));
socket.on("disconnect", (reason) => say({ on: "disconnect", reason, active: socket.active }));
socket.onAny((event, ...data) => say({ on: event, data }));
socket.io.on("open", () => socket.io.engine.on("upgrade", (transport) => say({ on: "upgrade", transport: transport.name })));
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { emit, close } = JSON.parse(line);
  if (close) socket.close();
  else socket.emit(emit[0], ...emit.slice(1), (answer) => say({ on: "ack", data: [answer] }));
}).on("close", () => process.exit());
