/*
 * tarpit_load: callers that a tarpit on loopback holds; measures how late its bytes are. One thread, no root.
 *
 *   tarpit_load HOST PORT CONNECTIONS SECONDS BYTES_PER_S
 *
 * Opens the connections, a few hundred at a time, and prints "open" when each has its first byte.
 * For SECONDS from then on it notes how late each byte comes, against the first byte of its connection; and every
 * 50 ms a new caller, from its own address, measures how long its first byte takes, and closes.
 *
 * Prints one JSON line. Exit status: 0; 1 where the server dropped a connection; 2 usage or no descriptors.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
    BATCH = 256,
    CONNECTING_MAX = 200,
    LATE_MAX_MS = 10000, /* what is later counts as this late */
    EARLY_MS = -60,      /* before this it is early: the first byte may itself have been late by a tick */
    NEWCOMER_EVERY_MS = 50,
    NEWCOMERS_MAX = 100000,
};

static const uint64_t NEWCOMER = UINT64_MAX;

struct caller {
    int fd;
    long heard;
    int64_t first_ns;
};

static struct sockaddr_in server = {.sin_family = AF_INET};
static long late_ms[LATE_MAX_MS + 1];
static long bytes, early, dropped;
static double newcomers_ms[NEWCOMERS_MAX];
static long newcomers;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *message)
{
    fprintf(stderr, "tarpit_load: %s\n", message);
    exit(2);
}

/* A socket that connects from 127.0.THIRD.x. */
static int open_connection(int epoll_fd, long n, uint32_t third, uint64_t tag)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    source.sin_addr.s_addr = htonl(0x7f000000u | third << 8 | (uint32_t)(1 + n % 250));
    if (fd < 0)
        die("no descriptors");
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0 ||
        (connect(fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS))
        die("cannot connect");
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl failed");
    return fd;
}

static void note(const struct caller *caller, int64_t now, int rate)
{
    double late = (double)(now - caller->first_ns) / 1e6 - (double)caller->heard * 1000.0 / rate;
    bytes++;
    if (late < EARLY_MS)
        early++;
    long whole = late < 0 ? 0 : late > LATE_MAX_MS ? LATE_MAX_MS : (long)late;
    late_ms[whole]++;
}

/* Reads what there is; 1 where this was the caller's first byte. */
static int hear(struct caller *caller, int64_t now, int measuring, int rate)
{
    char data[512];
    ssize_t n = recv(caller->fd, data, sizeof data, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        close(caller->fd);
        caller->fd = -1;
        dropped++;
        return 0;
    }
    int is_first = caller->heard == 0;
    if (is_first)
        caller->first_ns = now;
    for (ssize_t i = 0; i < n; i++) {
        if (measuring && caller->heard > 0)
            note(caller, now, rate);
        caller->heard++;
    }
    return is_first;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double newcomers_at(double share)
{
    return newcomers ? newcomers_ms[(long)(share * (double)(newcomers - 1))] : -1;
}

static long late_at(double share)
{
    long seen = 0;
    for (long ms = 0; ms <= LATE_MAX_MS; ms++)
        if ((seen += late_ms[ms]) > share * (double)bytes)
            return ms;
    return LATE_MAX_MS;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        die("usage: tarpit_load HOST PORT CONNECTIONS SECONDS BYTES_PER_S");
    long count = atol(argv[3]), begun = 0, opened = 0;
    int seconds = atoi(argv[4]), rate = atoi(argv[5]);
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 || count < 1 || seconds < 1 || rate < 1)
        die("HOST is an IPv4 address, the rest numbers from 1");
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct caller *callers = calloc((size_t)count, sizeof *callers);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (callers == NULL || epoll_fd < 0)
        die("out of memory or descriptors");
    int64_t until = INT64_MAX, next_newcomer = INT64_MAX, asked_ns = 0;
    int newcomer = -1;
    struct epoll_event events[BATCH];
    for (int64_t now = now_ns(); now < until; now = now_ns()) {
        while (begun < count && begun - opened < CONNECTING_MAX) {
            callers[begun].fd = open_connection(epoll_fd, begun, 1 + (uint32_t)(begun / 250 % 200), (uint64_t)begun);
            begun++;
        }
        if (newcomer < 0 && now >= next_newcomer && newcomers < NEWCOMERS_MAX) {
            asked_ns = now_ns();
            newcomer = open_connection(epoll_fd, newcomers, 222, NEWCOMER);
            next_newcomer = now + NEWCOMER_EVERY_MS * 1000000LL;
        }
        int n = epoll_wait(epoll_fd, events, BATCH, 5);
        now = now_ns();
        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == NEWCOMER) {
                newcomers_ms[newcomers++] = (double)(now - asked_ns) / 1e6;
                close(newcomer);
                newcomer = -1;
            } else {
                opened += hear(&callers[events[i].data.u64], now, until != INT64_MAX, rate);
            }
        }
        if (opened + dropped >= count && until == INT64_MAX) {
            puts("open");
            fflush(stdout);
            next_newcomer = now;
            until = now + seconds * 1000000000LL;
        }
    }
    qsort(newcomers_ms, (size_t)newcomers, sizeof *newcomers_ms, by_size);
    printf("{\"opened\": %ld, \"dropped\": %ld, \"bytes\": %ld, \"early\": %ld, \"late_p50_ms\": %ld, "
           "\"late_p99_ms\": %ld, \"late_max_ms\": %ld, \"newcomers\": %ld, \"newcomers_p50_ms\": %.2f, "
           "\"newcomers_p99_ms\": %.2f}\n",
           opened, dropped, bytes, early, late_at(0.5), late_at(0.99), late_at(1.0 - 1e-9), newcomers,
           newcomers_at(0.5), newcomers_at(0.99));
    return dropped > 0;
}
