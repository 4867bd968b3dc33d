/*
 * wheel_server: the least program that can hold callers, as a floor for a tarpit. It sends each caller a
 * greeting, byte by byte, from a wheel of 50 ms, and drops what it receives.
 *
 *   wheel_server PORT BYTES_PER_S     listens on 127.0.0.1
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
    ACCEPT_BATCH = 64,
    EVENT_BATCH = 256,
    CONNECTIONS_MAX = 65536,
    READ_BYTES = 2048,
    GREETING_BYTES = 200,
    TICK_MS = 50,
    BUCKETS = 64, /* more than the ticks between two bytes at one byte a second */
};

/* A caller, by descriptor; a page that is never touched takes no memory. */
struct caller {
    int64_t begun_ms;
    int32_t next;    /* in its bucket; 0: the last */
    int32_t before;  /* in its bucket; 0: the first */
    int64_t tick;    /* where it is; 0: nowhere */
    int32_t given;   /* bytes of the greeting */
};
static struct caller callers[CONNECTIONS_MAX];
static int32_t buckets[BUCKETS];
static char greeting[GREETING_BYTES + 1];
static int rate;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void take_out(int fd)
{
    struct caller *caller = &callers[fd];
    if (caller->tick == 0)
        return;
    if (caller->before != 0)
        callers[caller->before].next = caller->next;
    else
        buckets[caller->tick % BUCKETS] = caller->next;
    if (caller->next != 0)
        callers[caller->next].before = caller->before;
    caller->tick = 0;
}

static void put_in(int fd, int64_t due_ms)
{
    struct caller *caller = &callers[fd];
    caller->tick = due_ms / TICK_MS + 1;
    int32_t *bucket = &buckets[caller->tick % BUCKETS];
    caller->before = 0;
    caller->next = *bucket;
    if (*bucket != 0)
        callers[*bucket].before = fd;
    *bucket = fd;
}

static void hang_up(int fd)
{
    take_out(fd);
    close(fd);
}

/* Sends what is due by now, and says when more is. */
static void stutter(int fd, int64_t now)
{
    struct caller *caller = &callers[fd];
    int64_t due = (now - caller->begun_ms) * rate / 1000 + 1;
    if (due > GREETING_BYTES)
        due = GREETING_BYTES;
    size_t bytes = (size_t)(due - caller->given);
    if (bytes > 0 && send(fd, greeting + caller->given, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)bytes) {
        hang_up(fd);
        return;
    }
    caller->given = (int32_t)due;
    if (due < GREETING_BYTES)
        put_in(fd, caller->begun_ms + (due * 1000 + rate - 1) / rate);
}

static void take_connections(int listener, int epoll_fd, int64_t now)
{
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= CONNECTIONS_MAX || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
            close(fd);
            continue;
        }
        callers[fd] = (struct caller){.begun_ms = now};
        stutter(fd, now);
    }
}

/* Reads and drops; hangs up where the caller is gone. */
static void hear(int fd)
{
    char data[READ_BYTES];
    ssize_t n = recv(fd, data, sizeof data, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        hang_up(fd);
}

static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0)
        die("bind, listen");
    return fd;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3 || (rate = atoi(argv[2])) < 1) {
        fprintf(stderr, "usage: wheel_server PORT BYTES_PER_S\n");
        return 2;
    }
    memset(greeting, 'x', GREETING_BYTES);
    memcpy(greeting, "220 ", 4);
    memcpy(greeting + GREETING_BYTES - 2, "\r\n", 2);
    raise_descriptor_limit();
    int listener = listen_on(atoi(argv[1])), epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENT_BATCH], on_listener = {.events = EPOLLIN, .data.fd = listener};
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &on_listener) < 0)
        die("epoll");
    int64_t tick = now_ms() / TICK_MS;
    for (;;) {
        int64_t wait = (tick + 1) * TICK_MS - now_ms();
        int n = epoll_wait(epoll_fd, events, EVENT_BATCH, wait > 0 ? (int)wait : 0);
        int64_t now = now_ms();
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                take_connections(listener, epoll_fd, now);
            else
                hear(events[i].data.fd);
        }
        while ((tick + 1) * TICK_MS <= now) {
            int fd = buckets[++tick % BUCKETS];
            while (fd != 0) { /* BUCKETS is more than the ticks ahead, so all in a bucket are due */
                int next = callers[fd].next;
                take_out(fd);
                stutter(fd, now);
                fd = next;
            }
        }
    }
}
