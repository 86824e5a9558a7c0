// One socket.io-client, told what to do in JSON lines on stdin, saying what happens in JSON lines on stdout.
// node client.js URL {"token": ..., "transports": [...], "origin": ..., "greet": [[event, ...], ...], "options": {...}}
// NODE_PATH names its modules; what `greet` holds is emitted at once, each time it has connected.
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
const emit = (event) => socket.emit(...event, (answer) => say({ on: "ack", data: [answer] }));
socket.on("connect", () => {
  say({ on: "connect", transport: socket.io.engine.transport.name, id: socket.id });
  given.greet.forEach(emit);
});
socket.on("connect_error", (error) =>
  say({ on: "connect_error", message: error.message, data: error.data, active: socket.active, status: error.context?.status }));
socket.on("disconnect", (reason) => say({ on: "disconnect", reason, active: socket.active }));
socket.onAny((event, ...data) => say({ on: event, data }));
socket.io.on("open", () => socket.io.engine.on("upgrade", (transport) => say({ on: "upgrade", transport: transport.name })));
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const told = JSON.parse(line);
  if (told.close) socket.close();
  else emit(told.emit);
}).on("close", () => process.exit());
