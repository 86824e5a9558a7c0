// Socket.IO's own server, set up as the plan document's 1.6 does it: path, heartbeat, 1 MB, both transports, counts by user.
const { createServer } = require("node:http");
const { Server } = require("socket.io");
const http = createServer((request, response) => response.end("ok"));
const io = new Server(http, {
  path: "/api/xynergyos/v2/stream",
  maxHttpBufferSize: 1e6,
  pingInterval: 25000,
  pingTimeout: 60000,
  transports: ["websocket", "polling"],
});
const connections = new Map();
const timestamps = new Map();
io.on("connection", (socket) => {
  const user = socket.handshake.auth.userId || socket.id;
  const mine = connections.get(user) || new Set();
  mine.add(socket);
  connections.set(user, mine);
  timestamps.set(socket.id, Date.now());
  const timer = setTimeout(() => socket.disconnect(), 300000);
  socket.on("disconnect", () => {
    clearTimeout(timer);
    mine.delete(socket);
    timestamps.delete(socket.id);
    if (!mine.size) connections.delete(user);
  });
  socket.on("subscribe", (room, done) => { socket.join(room); done({ ok: true }); });
});
process.on("SIGUSR2", () => global.gc());
http.listen(Number(process.env.PORT), "127.0.0.1");
