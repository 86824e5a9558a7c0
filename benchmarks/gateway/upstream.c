// Tiny single-threaded epoll HTTP/1.1 upstream with canned JSON answers (bench only, loopback only).
// usage: upstream PORT DATADIR     GET *contacts* -> contacts.json (~3 KB); GET *big* -> big.json (30 KB), gzip'd
// ahead when the path has "gz" and the request accepts gzip; POST/PUT/PATCH -> 201 small JSON after the body is read.
// GET *served* -> how many requests were answered before, itself and its like left out. Date is the time of day: a cache
// that knows RFC 9111 would take an old one for an old answer.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
typedef struct { int fd; size_t len; char buf[65536]; char *out; size_t outlen, outoff; } conn;
static char *resp[8]; static size_t resplen[8]; static char *date[8]; static long served;
static char *slurp(const char *d, const char *n, size_t *len) {
  char p[512]; snprintf(p, sizeof p, "%s/%s", d, n); FILE *f = fopen(p, "rb"); if (!f) { perror(p); exit(1); }
  fseek(f, 0, SEEK_END); *len = ftell(f); rewind(f); char *b = malloc(*len + 1); if (fread(b, 1, *len, f) != *len) exit(1); b[*len] = 0; fclose(f); return b;
}
static void mk(int i, const char *status, const char *extra, const char *body, size_t n) {
  char h[512]; int hl = snprintf(h, sizeof h, "HTTP/1.1 %s\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %zu\r\n%sETag: W/\"%zx-bench%d\"\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: keep-alive\r\n\r\n", status, n, extra, n, i);
  resp[i] = malloc(hl + n); memcpy(resp[i], h, hl); memcpy(resp[i] + hl, body, n); resplen[i] = hl + n; date[i] = strstr(resp[i], "Date: ") + 6;
}
static void tick(void) { // the same 29 bytes, once a second
  static time_t last; time_t now = time(NULL); if (now == last) return; last = now; struct tm t; gmtime_r(&now, &t);
  char d[32]; strftime(d, sizeof d, "%a, %d %b %Y %H:%M:%S GMT", &t); for (int i = 0; i < 8; i++) if (date[i]) memcpy(date[i], d, 29);
}
static void count(void) {
  char b[32]; snprintf(b, sizeof b, "%012ld", served); free(resp[5]); mk(5, "200 OK", "", b, 12);
}
static int flush_out(conn *c) {
  while (c->outoff < c->outlen) { ssize_t w = send(c->fd, c->out + c->outoff, c->outlen - c->outoff, MSG_NOSIGNAL);
    if (w < 0) return errno == EAGAIN ? 1 : -1; c->outoff += w; }
  c->out = NULL; c->outlen = c->outoff = 0; return 0;
}
static void drop(conn *c) { close(c->fd); free(c); }
int main(int argc, char **argv) {
  int port = atoi(argv[1]); size_t n; char *b;
  b = slurp(argv[2], "contacts.json", &n); mk(0, "200 OK", "", b, n);
  b = slurp(argv[2], "big.json", &n); mk(1, "200 OK", "Vary: Accept-Encoding\r\n", b, n);
  b = slurp(argv[2], "big.json.gz", &n); mk(2, "200 OK", "Vary: Accept-Encoding\r\nContent-Encoding: gzip\r\n", b, n);
  const char *cr = "{\"created\":1,\"id\":\"8c6f3a52-2f0e-4a29-9c39-2f5a1a3f8d11\"}"; mk(3, "201 Created", "", cr, strlen(cr));
  const char *hl = "{\"status\":\"healthy\"}"; mk(4, "200 OK", "", hl, strlen(hl));
  int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1; setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(s, (void *)&a, sizeof a) || listen(s, 1024)) { perror("bind"); return 1; }
  int ep = epoll_create1(0); struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, evs[256]; epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev);
  for (;;) { int k = epoll_wait(ep, evs, 256, -1); tick();
    for (int i = 0; i < k; i++) { conn *c = evs[i].data.ptr;
      if (!c) { int fd; while ((fd = accept4(s, 0, 0, SOCK_NONBLOCK)) >= 0) { setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          c = calloc(1, sizeof *c); c->fd = fd; ev.events = EPOLLIN; ev.data.ptr = c; epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev); } continue; }
      if (c->out) { int r = flush_out(c); if (r < 0) { drop(c); continue; } if (r == 0) { ev.events = EPOLLIN; ev.data.ptr = c; epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev); } else continue; }
      ssize_t r = recv(c->fd, c->buf + c->len, sizeof c->buf - 1 - c->len, 0);
      if (r == 0 || (r < 0 && errno != EAGAIN)) { drop(c); continue; }
      if (r > 0) c->len += r;
      int dead = 0;
      while (c->len && !c->out) { c->buf[c->len] = 0; char *e = strstr(c->buf, "\r\n\r\n"); if (!e) break;
        size_t hlen = e + 4 - c->buf, total = hlen; *e = 0; char *cl = strcasestr(c->buf, "\r\ncontent-length:");
        if (cl) total += strtoul(cl + 17, 0, 10);
        else if (strcasestr(c->buf, "\r\ntransfer-encoding: chunked")) { char *z = memmem(c->buf + hlen, c->len - hlen, "0\r\n\r\n", 5); if (!z) { *e = '\r'; break; } total = z + 5 - c->buf; }
        if (total > c->len) { *e = '\r'; if (total >= sizeof c->buf) dead = 1; break; }
        char *eol = strchr(c->buf, '\r'); if (eol) *eol = 0;
        int which; if (c->buf[0] == 'P') which = 3; else if (strstr(c->buf, "big")) { which = 1; if (strstr(c->buf, "gz")) { char *ae = strcasestr(eol + 1, "accept-encoding:"); if (ae && strstr(ae, "gzip")) which = 2; } }
        else if (strstr(c->buf, "served")) { which = 5; count(); } else if (strstr(c->buf, "health")) which = 4; else which = 0;
        memmove(c->buf, c->buf + total, c->len - total); c->len -= total;
        served += which != 5; c->out = resp[which]; c->outlen = resplen[which]; c->outoff = 0; int fr = flush_out(c);
        if (fr < 0) { dead = 1; break; } if (fr == 1) { ev.events = EPOLLOUT; ev.data.ptr = c; epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev); } }
      if (dead) drop(c); } }
}
