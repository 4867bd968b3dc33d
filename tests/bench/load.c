/*
 * load: an SMTP load generator for loopback servers. One thread, one epoll, no root.
 *
 *   load HOST PORT connect CONCURRENCY SESSIONS    220, QUIT, 221, EOF
 *   load HOST PORT reject  CONCURRENCY SESSIONS    220, HELO, 250, MAIL, 5xx, QUIT, 221, EOF
 *   load HOST PORT hold    CONNECTIONS SECONDS     220, then silence until a line or EOF on stdin
 *                                                  (a pipe or terminal), or until SECONDS have passed
 *
 * HOST is an IPv4 address of 127.0.0.0/8. CONCURRENCY sessions are kept going: as one ends, the next
 * begins. Sources spread over 127.0.1.1-250 to 127.0.20.1-250, so that ports do not run out. Each session
 * has its own names in HELO and MAIL, as callers do, so that no server profits from a cache of them.
 *
 * Prints one JSON line; hold prints it as soon as its connections are open. A reply that is not the
 * expected one, an error, an early EOF, bytes behind the last reply, or ten seconds in which nothing
 * happens at all make a failure. Latency is that of a whole session, from connect() to EOF.
 *
 * Exit status: 0 no failures, 1 failures, 2 usage or no descriptors.
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

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
    BATCH = 256,             /* events taken from one epoll_wait */
    REPLY_MAX = 512,         /* bytes of one reply line, RFC 5321 4.5.3.1.5 */
    SEND_MAX = 64,           /* bytes of one command */
    STALL_MS = 10 * 1000,    /* nothing happening for so long ends the run */
    CONNECTING_MAX = 200,    /* hold: connections that still wait for their greeting */
    SPARE_DESCRIPTORS = 16,
};

static const uint64_t STDIN_TAG = UINT64_MAX;

/* One row of a dialogue: what the reply must begin with, and what to send then. */
struct step {
    const char *expect;
    const char *send; /* a format for the session's name; NULL: the last row, before EOF, or silence in hold */
};

static const struct step CONNECT_STEPS[] = {{"220", "QUIT\r\n"}, {"221", NULL}};
static const struct step REJECT_STEPS[] = {
    {"220", "HELO bench%08u\r\n"}, {"250", "MAIL FROM:<a%08u@b>\r\n"}, {"5", "QUIT\r\n"}, {"221", NULL}};
static const struct step HOLD_STEPS[] = {{"220", NULL}};

struct session {
    int fd; /* -1: not open */
    int step;
    int finished; /* the last reply has come */
    int used;
    unsigned name; /* 8 digits */
    int64_t started_ns;
    char buffer[REPLY_MAX];
};

struct run {
    int epoll_fd;
    const char *scenario;
    const struct step *steps;
    struct sockaddr_in server;
    struct session *sessions; /* `places` of them */
    long places, total, begun, completed, failures, held, dropped;
    int holding;
    int64_t started_ns;
    int64_t *latencies_ns; /* `completed` of them */
};

enum progress { WAITING, DONE, FAILED };

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *message)
{
    fprintf(stderr, "load: %s\n", message);
    exit(2);
}

/* The source of the n-th session: 127.0.1.1, 127.0.2.1, ... 127.0.20.1, 127.0.1.2, ... */
static struct sockaddr_in source_of(long n)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    uint32_t third = 1 + (uint32_t)(n % 20), fourth = 1 + (uint32_t)(n / 20 % 250);
    source.sin_addr.s_addr = htonl(0x7f000000u | third << 8 | fourth);
    return source;
}

/* A socket that is connected or connecting, or -1. */
static int open_connection(const struct run *run, long n)
{
    struct sockaddr_in source = source_of(n);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0 ||
        (connect(fd, (const struct sockaddr *)&run->server, sizeof run->server) < 0 &&
         errno != EINPROGRESS)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Begins the next session in this place; one that cannot even connect is a failure. */
static void begin_session(struct run *run, long place)
{
    struct session *s = &run->sessions[place];
    s->fd = -1;
    while (run->begun < run->total) {
        s->started_ns = now_ns();
        s->step = s->used = s->finished = 0;
        s->name = (unsigned)((run->started_ns / 1000 + run->begun) % 100000000);
        s->fd = open_connection(run, run->begun++);
        if (s->fd >= 0) {
            struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)place};
            if (epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, s->fd, &event) < 0)
                die("epoll_ctl failed");
            return;
        }
        run->failures++;
    }
}

/* Takes the reply line that fills the buffer; answers it as the dialogue demands. */
static enum progress answer(const struct run *run, struct session *s)
{
    const struct step *step = &run->steps[s->step];
    if (s->used < 5 || s->buffer[3] == '-' || strncmp(s->buffer, step->expect, strlen(step->expect)) != 0)
        return FAILED;
    s->used = 0;
    if (step->send == NULL) {
        s->finished = 1;
        return run->holding ? DONE : WAITING;
    }
    s->step++;
    char text[SEND_MAX];
    int length = snprintf(text, sizeof text, step->send, s->name);
    return send(s->fd, text, (size_t)length, MSG_NOSIGNAL) == length ? WAITING : FAILED;
}

/* Reads what there is. DONE is EOF in its place, or the greeting in hold. */
static enum progress receive(const struct run *run, struct session *s)
{
    for (;;) {
        if (s->used == REPLY_MAX)
            return FAILED;
        ssize_t n = recv(s->fd, s->buffer + s->used, (size_t)(REPLY_MAX - s->used), 0);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? WAITING : FAILED;
        if (n == 0)
            return s->finished && !run->holding ? DONE : FAILED;
        if (s->finished)
            return FAILED;
        s->used += (int)n;
        char *end = memchr(s->buffer, '\n', (size_t)s->used);
        if (end == NULL)
            continue;
        if (end != s->buffer + s->used - 1)
            return FAILED;
        enum progress progress = answer(run, s);
        if (progress != WAITING || !s->finished)
            return progress;
    }
}

static void end_session(struct run *run, long place, enum progress progress)
{
    struct session *s = &run->sessions[place];
    if (progress == DONE)
        run->latencies_ns[run->completed++] = now_ns() - s->started_ns;
    else
        run->failures++;
    if (run->holding && progress == DONE)
        run->held++;
    else
        close(s->fd);
}

static void fail_open_sessions(struct run *run)
{
    for (long place = 0; place < run->places; place++) {
        struct session *s = &run->sessions[place];
        if (s->fd >= 0 && !(run->holding && s->finished)) {
            close(s->fd);
            s->fd = -1;
            run->failures++;
        }
    }
    run->failures += run->total - run->begun;
}

/* A held connection that the server spoke on or closed. */
static void drop(struct run *run, struct session *s)
{
    close(s->fd);
    s->fd = -1;
    run->held--;
    run->dropped++;
}

/* Runs sessions until all have ended; in hold, until all are open. */
static void drive(struct run *run)
{
    struct epoll_event events[BATCH];
    long next_place = 0, first = run->holding ? CONNECTING_MAX : run->places;
    while (next_place < first && next_place < run->places)
        begin_session(run, next_place++);
    while (run->completed + run->failures < run->total) {
        int n = epoll_wait(run->epoll_fd, events, BATCH, STALL_MS);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            fail_open_sessions(run);
            return;
        }
        for (int i = 0; i < n; i++) {
            long place = (long)events[i].data.u64;
            struct session *s = &run->sessions[place];
            if (run->holding && s->finished) {
                drop(run, s);
                continue;
            }
            enum progress progress = receive(run, s);
            if (progress == WAITING)
                continue;
            end_session(run, place, progress);
            if (!run->holding)
                begin_session(run, place);
            else if (next_place < run->places)
                begin_session(run, next_place++);
        }
    }
}

/* Keeps the held connections until stdin says something, or the time is up. */
static void hold(struct run *run, long seconds)
{
    struct epoll_event events[BATCH], on_stdin = {.events = EPOLLIN, .data.u64 = STDIN_TAG};
    epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &on_stdin); /* a file cannot be watched */
    int64_t deadline_ns = now_ns() + (int64_t)seconds * 1000000000, left_ns;
    while ((left_ns = deadline_ns - now_ns()) > 0) {
        int n = epoll_wait(run->epoll_fd, events, BATCH, (int)(left_ns / 1000000) + 1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == STDIN_TAG)
                return;
            drop(run, &run->sessions[events[i].data.u64]);
        }
    }
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Milliseconds under which this share of the sessions stayed. */
static double percentile_ms(const struct run *run, double share)
{
    if (run->completed == 0)
        return 0;
    long at = (long)(share * (double)run->completed);
    if (at >= run->completed)
        at = run->completed - 1;
    return (double)run->latencies_ns[at] / 1e6;
}

static void report(struct run *run)
{
    double wall_s = (double)(now_ns() - run->started_ns) / 1e9;
    qsort(run->latencies_ns, (size_t)run->completed, sizeof *run->latencies_ns, by_value);
    printf("{\"scenario\":\"%s\",\"sessions\":%ld,\"failures\":%ld,\"wall_s\":%.6f,"
           "\"sessions_per_s\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n",
           run->scenario, run->completed, run->failures, wall_s, (double)run->completed / wall_s,
           percentile_ms(run, 0.5), percentile_ms(run, 0.99), percentile_ms(run, 1.0));
    fflush(stdout);
}

static void choose_scenario(struct run *run, const char *name)
{
    run->scenario = name;
    if (strcmp(name, "connect") == 0)
        run->steps = CONNECT_STEPS;
    else if (strcmp(name, "reject") == 0)
        run->steps = REJECT_STEPS;
    else if (strcmp(name, "hold") == 0)
        run->steps = HOLD_STEPS, run->holding = 1;
    else
        die("SCENARIO is connect, reject or hold");
}

/* A whole number from 1 to 10 million, or the end. */
static long count_of(const char *text, const char *complaint)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < 1 || value > 10000000)
        die(complaint);
    return value;
}

static void choose_server(struct run *run, const char *host, const char *port)
{
    run->server.sin_family = AF_INET;
    run->server.sin_port = htons((uint16_t)count_of(port, "PORT is a number"));
    if (inet_pton(AF_INET, host, &run->server.sin_addr) != 1 ||
        ntohl(run->server.sin_addr.s_addr) >> 24 != 127)
        die("HOST is an IPv4 address of 127.0.0.0/8");
}

static void make_room(struct run *run)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if ((rlim_t)run->places + SPARE_DESCRIPTORS > limit.rlim_cur)
        die("too many at a time for the limit of open files (ulimit -Hn)");
    run->sessions = calloc((size_t)run->places, sizeof *run->sessions);
    run->latencies_ns = calloc((size_t)run->total, sizeof *run->latencies_ns);
    run->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (run->sessions == NULL || run->latencies_ns == NULL || run->epoll_fd < 0)
        die("out of memory or descriptors");
    for (long place = 0; place < run->places; place++)
        run->sessions[place].fd = -1;
}

int main(int argc, char **argv)
{
    struct run run = {0};
    if (argc != 6)
        die("usage: load HOST PORT connect|reject CONCURRENCY SESSIONS, or: load HOST PORT hold CONNECTIONS SECONDS");
    choose_server(&run, argv[1], argv[2]);
    choose_scenario(&run, argv[3]);
    run.places = count_of(argv[4], "CONCURRENCY is a number from 1");
    run.total = count_of(argv[5], "SESSIONS, or SECONDS, is a number from 1");
    long seconds = run.total;
    if (run.holding)
        run.total = run.places;
    else if (run.places > run.total)
        run.places = run.total;
    make_room(&run);
    run.started_ns = now_ns();
    drive(&run);
    report(&run);
    if (run.holding)
        hold(&run, seconds);
    if (run.dropped > 0)
        fprintf(stderr, "load: the server closed %ld held connections\n", run.dropped);
    return run.failures > 0 || run.dropped > 0;
}
