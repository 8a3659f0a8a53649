/* A load client that costs little: one thread, epoll, keep-alive connections, one request outstanding on each.
 *
 * It replays prepared requests (signed beforehand, so that signing is not measured) from a file of records
 *     u32 big-endian length of the request, u32 big-endian length of the expected text, request, expected text
 * and measures the time from handing a request to the kernel until the last byte of its answer was read. Every answer
 * must have the wanted status and contain the expected text (an empty one is not looked for), so an answer that went
 * to the wrong caller is found. Prints one JSON object; times are in nanoseconds unless the name says otherwise.
 *
 *     loadclient --port P --requests FILE [--host 127.0.0.1] [--connections 1] [--seconds 1] [--warmup 0]
 *                [--count 0] [--status 200] [--timeout 30]
 *
 * --count N sends exactly N requests instead of sending for --seconds. What started during --warmup is sent and
 * checked but not measured. Exit status: 0 measured (errors are counted in the JSON), 1 could not run, 2 wrong usage.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_LIMIT = 65536, FIRST_BUFFER = 16384 };

struct request {
    const char *bytes, *expected;
    size_t length, expected_length;
};

enum framing { BY_LENGTH, BY_CHUNKS, BY_CLOSE };

struct connection {
    int fd;
    int busy;                    /* a request is outstanding */
    int watches_output;          /* the request did not fit into the socket at once */
    const struct request *request;
    size_t sent;
    uint64_t started;
    char *buffer;                /* the answer as it arrives; chunks are joined in place */
    size_t size, filled;
    size_t head;                 /* bytes of the head with its blank line, 0: not complete yet */
    int status, closes;
    enum framing framing;
    size_t body_length;          /* BY_LENGTH: announced; BY_CHUNKS: joined so far */
    size_t chunk_cursor;         /* where the next chunk line or trailer begins */
};

static struct {
    const char *host, *requests;
    int port, connections, status;
    double seconds, warmup, timeout;
    uint64_t count;
} option = {.host = "127.0.0.1", .connections = 1, .status = 200, .seconds = 1, .timeout = 30};

static struct request *requests;
static size_t request_count, request_cursor;
static struct connection *connections;
static int epoll_fd, busy_connections;
static struct sockaddr_in address;

static uint64_t run_started, window_begins, window_ends;   /* window_ends: UINT64_MAX with --count */
static uint64_t *latencies;
static size_t latency_count, latency_room;
static uint64_t total_sent, total_answered, answered_in_window, last_answer, errors, reconnects;
static char first_error[400];

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "loadclient: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static void *must(void *memory) {
    if (!memory) fail("out of memory");
    return memory;
}

static void note_error(const char *what, const char *detail, size_t length) {
    errors++;
    if (first_error[0]) return;
    int used = snprintf(first_error, sizeof first_error, "%s", what);
    if (detail && length) {
        if (length > 300) length = 300;
        snprintf(first_error + used, sizeof first_error - (size_t)used, ": %.*s", (int)length, detail);
    }
}

static uint32_t big_endian(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void read_requests(void) {
    FILE *file = fopen(option.requests, "rb");
    struct stat facts;
    if (!file || fstat(fileno(file), &facts)) fail(option.requests);
    size_t size = (size_t)facts.st_size, at = 0, room = 0;
    unsigned char *bytes = must(malloc(size + 1));
    if (fread(bytes, 1, size, file) != size) fail("cannot read the requests");
    fclose(file);
    errno = 0;
    while (at < size) {
        if (size - at < 8) fail("the file of requests ends within a record");
        size_t length = big_endian(bytes + at), expected = big_endian(bytes + at + 4);
        at += 8;
        if (size - at < length + expected) fail("the file of requests ends within a record");
        if (request_count == room) {
            room = room ? room * 2 : 256;
            requests = must(realloc(requests, room * sizeof *requests));
        }
        requests[request_count++] = (struct request){.bytes = (char *)bytes + at, .length = length,
            .expected = (char *)bytes + at + length, .expected_length = expected};
        at += length + expected;
    }
    if (!request_count) fail("no requests in the file");
}

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event)) fail("epoll_ctl");
}

static void open_connection(struct connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("socket");
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) fail("cannot connect");
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK)) fail("fcntl");
    c->watches_output = 0;
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void reopen(struct connection *c) {
    close(c->fd);
    reconnects++;
    open_connection(c);
}

static void finish_failed(struct connection *c, const char *what, const char *detail, size_t length) {
    note_error(what, detail, length);
    c->busy = 0;
    busy_connections--;
    reopen(c);
}

static void push(struct connection *c) {
    const struct request *r = c->request;
    while (c->sent < r->length) {
        ssize_t n = send(c->fd, r->bytes + c->sent, r->length - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) {
            if (!c->watches_output) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            c->watches_output = 1;
            return;
        }
        if (n < 0) break;        /* the reading side finds an early answer or the closed connection */
        c->sent += (size_t)n;
    }
    if (c->watches_output) watch(c, EPOLL_CTL_MOD, EPOLLIN);
    c->watches_output = 0;
}

static void start_request(struct connection *c) {
    c->request = &requests[request_cursor];
    if (++request_cursor == request_count) request_cursor = 0;
    c->sent = c->filled = c->head = c->body_length = c->chunk_cursor = 0;
    c->closes = 0;
    c->busy = 1;
    busy_connections++;
    total_sent++;
    c->started = now();
    push(c);
}

static int may_send(uint64_t moment) {
    return option.count ? total_sent < option.count : moment < window_ends;
}

static void record(const struct connection *c, uint64_t moment) {
    total_answered++;
    last_answer = moment;
    if (moment >= window_begins && moment < window_ends) answered_in_window++;
    if (c->started < window_begins) return;
    if (latency_count == latency_room) {
        latency_room = latency_room ? latency_room * 2 : 65536;
        latencies = must(realloc(latencies, latency_room * sizeof *latencies));
    }
    latencies[latency_count++] = moment - c->started;
}

static void finish(struct connection *c) {
    uint64_t moment = now();
    char *body = c->buffer + c->head;
    if (c->status != option.status)
        note_error("unexpected answer", c->buffer, c->filled);
    else if (c->request->expected_length
             && !memmem(body, c->body_length, c->request->expected, c->request->expected_length))
        note_error("the answer lacks the expected text", body, c->body_length);
    else
        record(c, moment);
    c->busy = 0;
    busy_connections--;
    if (c->closes) reopen(c);
    if (may_send(moment)) start_request(c);
}

/* The value of a header line (`name` in lower case), NULL if the line is another header. */
static const char *header_value(const char *line, const char *end, const char *name) {
    size_t length = strlen(name);
    if ((size_t)(end - line) <= length || line[length] != ':' || strncasecmp(line, name, length)) return NULL;
    for (line += length + 1; line < end && (*line == ' ' || *line == '\t'); line++) {}
    return line;
}

/* 1: the head is complete and understood; 0: more is needed; -1: not an HTTP answer. */
static int parse_head(struct connection *c, size_t scanned) {
    size_t from = scanned > 3 ? scanned - 3 : 0;
    char *end = memmem(c->buffer + from, c->filled - from, "\r\n\r\n", 4);
    if (!end) return c->filled > HEAD_LIMIT ? -1 : 0;
    if (c->filled < 12 || memcmp(c->buffer, "HTTP/1.", 7)) return -1;
    c->status = atoi(c->buffer + 9);
    c->head = (size_t)(end - c->buffer) + 4;
    if (c->status >= 100 && c->status < 200) {               /* interim answer: the real one follows */
        memmove(c->buffer, c->buffer + c->head, c->filled - c->head);
        c->filled -= c->head;
        c->head = 0;
        return parse_head(c, 0);
    }
    c->framing = BY_CLOSE;
    const char *line = memchr(c->buffer, '\n', c->head);
    for (line++; line < end; ) {
        const char *stop = memchr(line, '\r', (size_t)(end + 1 - line)), *value;
        if (!stop) break;
        if ((value = header_value(line, stop, "content-length"))) {
            c->framing = BY_LENGTH;
            c->body_length = strtoull(value, NULL, 10);
        } else if ((value = header_value(line, stop, "transfer-encoding"))) {
            c->framing = BY_CHUNKS;
            c->body_length = 0;
            c->chunk_cursor = c->head;
            break;
        } else if ((value = header_value(line, stop, "connection"))) {
            if (!strncasecmp(value, "close", 5)) c->closes = 1;
        }
        line = stop + 2;
    }
    if (c->status == 204 || c->status == 304) {
        c->framing = BY_LENGTH;
        c->body_length = 0;
    }
    return 1;
}

/* Joins the chunks that arrived. 1: the last one and the trailers are here; 0: more is needed; -1: malformed. */
static int join_chunks(struct connection *c) {
    for (;;) {
        char *line = c->buffer + c->chunk_cursor, *after;
        char *end = memmem(line, c->filled - c->chunk_cursor, "\r\n", 2);
        if (!end) return 0;
        size_t length = strtoull(line, &after, 16);
        if (after == line) return -1;
        char *data = end + 2;
        size_t arrived = c->filled - (size_t)(data - c->buffer);
        if (length == 0) {                                    /* trailers end at an empty line */
            char *rest = end;
            if (!memmem(rest, arrived + 2, "\r\n\r\n", 4)) return 0;
            return 1;
        }
        if (arrived < length + 2) return 0;
        if (memcmp(data + length, "\r\n", 2)) return -1;
        memmove(c->buffer + c->head + c->body_length, data, length);
        c->body_length += length;
        c->chunk_cursor = (size_t)(data - c->buffer) + length + 2;
    }
}

static int complete(struct connection *c) {
    switch (c->framing) {
    case BY_LENGTH: return c->filled - c->head >= c->body_length;
    case BY_CHUNKS: return join_chunks(c);
    default: return 0;
    }
}

static void pull(struct connection *c) {
    if (c->size - c->filled < FIRST_BUFFER / 2) {
        c->size = c->size ? c->size * 2 : FIRST_BUFFER;
        c->buffer = must(realloc(c->buffer, c->size));
    }
    ssize_t n = recv(c->fd, c->buffer + c->filled, c->size - c->filled, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (!c->busy) {
        if (n > 0) note_error("bytes after the end of an answer", c->buffer, (size_t)n);
        reopen(c);                                            /* the server closed an idle connection */
        return;
    }
    if (n <= 0) {
        if (n == 0 && c->head && c->framing == BY_CLOSE) {
            c->body_length = c->filled - c->head;
            c->closes = 1;
            finish(c);
            return;
        }
        finish_failed(c, "the connection was closed before the answer was complete", c->buffer, c->filled);
        if (may_send(now())) start_request(c);
        return;
    }
    size_t scanned = c->filled;
    c->filled += (size_t)n;
    int state = 1;
    if (!c->head) state = parse_head(c, scanned);
    if (state > 0) state = complete(c);
    if (state > 0) {
        finish(c);
    } else if (state < 0) {
        finish_failed(c, "not a well-formed HTTP answer", c->buffer, c->filled);
        if (may_send(now())) start_request(c);
    }
}

static void run(void) {
    struct epoll_event events[256];
    uint64_t patience = (uint64_t)(option.timeout * 1e9), heard = now();
    for (int i = 0; i < option.connections; i++)
        if (may_send(now())) start_request(&connections[i]);
    while (busy_connections) {
        int n = epoll_wait(epoll_fd, events, 256, 1000);
        if (n < 0 && errno != EINTR) fail("epoll_wait");
        if (n > 0) heard = now();
        else if (now() - heard > patience) {
            errors += (uint64_t)busy_connections - 1;
            note_error("no answer within the time allowed", NULL, 0);
            return;
        }
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->watches_output && events[i].events & EPOLLOUT) push(c);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) pull(c);
        }
    }
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Nearest rank: the smallest latency that at least `share` of all do not exceed. */
static uint64_t percentile(double share) {
    if (!latency_count) return 0;
    size_t rank = (size_t)(share * (double)latency_count + 0.999999);
    if (rank < 1) rank = 1;
    if (rank > latency_count) rank = latency_count;
    return latencies[rank - 1];
}

static void print_text(const char *text) {
    putchar('"');
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\') printf("\\%c", *p);
        else if (*p < 0x20 || *p >= 0x7f) printf("\\u%04x", *p);
        else putchar(*p);
    }
    putchar('"');
}

static void report(uint64_t finished) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    uint64_t end = window_ends == UINT64_MAX ? last_answer : window_ends;
    double window = end > window_begins ? (double)(end - window_begins) / 1e9 : 0, sum = 0;
    qsort(latencies, latency_count, sizeof *latencies, by_size);
    for (size_t i = 0; i < latency_count; i++) sum += (double)latencies[i];
    printf("{\"connections\": %d, \"count\": %zu, \"errors\": %llu, \"sent\": %llu, \"answered\": %llu, "
           "\"reconnects\": %llu, \"window_seconds\": %.6f, \"requests_per_second\": %.2f, ",
           option.connections, latency_count, (unsigned long long)errors, (unsigned long long)total_sent,
           (unsigned long long)total_answered, (unsigned long long)reconnects, window,
           window > 0 ? (double)answered_in_window / window : 0.0);
    printf("\"min\": %llu, \"mean\": %.0f, \"p50\": %llu, \"p90\": %llu, \"p99\": %llu, \"max\": %llu, "
           "\"client_cpu_seconds\": %.6f, \"elapsed_seconds\": %.6f, \"first_error\": ",
           (unsigned long long)(latency_count ? latencies[0] : 0), latency_count ? sum / (double)latency_count : 0.0,
           (unsigned long long)percentile(0.50), (unsigned long long)percentile(0.90),
           (unsigned long long)percentile(0.99), (unsigned long long)percentile(1.0), cpu,
           (double)(finished - run_started) / 1e9);
    print_text(first_error);
    printf("}\n");
}

static void read_options(int argc, char **argv) {
    static const struct option names[] = {
        {"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"requests", 1, 0, 'r'}, {"connections", 1, 0, 'c'},
        {"seconds", 1, 0, 's'}, {"warmup", 1, 0, 'w'}, {"count", 1, 0, 'n'}, {"status", 1, 0, 'e'},
        {"timeout", 1, 0, 't'}, {0, 0, 0, 0}};
    for (int name; (name = getopt_long(argc, argv, "", names, NULL)) != -1; ) {
        switch (name) {
        case 'h': option.host = optarg; break;
        case 'p': option.port = atoi(optarg); break;
        case 'r': option.requests = optarg; break;
        case 'c': option.connections = atoi(optarg); break;
        case 's': option.seconds = atof(optarg); break;
        case 'w': option.warmup = atof(optarg); break;
        case 'n': option.count = strtoull(optarg, NULL, 10); break;
        case 'e': option.status = atoi(optarg); break;
        case 't': option.timeout = atof(optarg); break;
        default: exit(2);
        }
    }
    if (optind != argc || !option.requests || option.port < 1 || option.port > 65535 || option.connections < 1
        || option.seconds <= 0 || option.warmup < 0 || option.timeout <= 0) {
        fprintf(stderr, "usage: loadclient --port P --requests FILE [--host ADDRESS] [--connections N] [--seconds S]\n"
                        "                  [--warmup S] [--count N] [--status CODE] [--timeout S]\n");
        exit(2);
    }
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    read_requests();
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)option.port);
    if (inet_pton(AF_INET, option.host, &address.sin_addr) != 1) {
        fprintf(stderr, "loadclient: --host takes an IPv4 address\n");
        return 2;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) fail("epoll_create1");
    connections = must(calloc((size_t)option.connections, sizeof *connections));
    for (int i = 0; i < option.connections; i++) open_connection(&connections[i]);
    run_started = now();
    window_begins = run_started + (uint64_t)(option.warmup * 1e9);
    window_ends = option.count ? UINT64_MAX : window_begins + (uint64_t)(option.seconds * 1e9);
    run();
    report(now());
    return 0;
}
