/*
 * Makes the n-th file call of a process fail, or kills the process there. Loaded with LD_PRELOAD; counts only calls on
 * files under CHAOS_FOLDER, in all threads.
 *
 *   CHAOS_AT      the call, from 1; 0 or absent: none
 *   CHAOS_FAULT   kill | short (a write takes fewer bytes than it was given) | the number of an errno
 *   CHAOS_CALLS   where to write, at the end, one letter for each counted call:
 *                 o open, r read, w write, t truncate, f fsync, n rename
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_CALLS (1 << 20)

static long calls;
static char letters[MOST_CALLS];

static int is_ours(const char *path) {
  const char *folder = getenv("CHAOS_FOLDER");
  return folder != NULL && path != NULL && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_ours_open(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_ours(path);
}

/* Counts a call. Answers 0 to go on, -1 with errno set to fail, 1 to write short. */
static int fault(char letter) {
  long call = __sync_add_and_fetch(&calls, 1);
  if (call <= MOST_CALLS) letters[call - 1] = letter;
  const char *at = getenv("CHAOS_AT"), *kind = getenv("CHAOS_FAULT");
  if (at == NULL || kind == NULL || atol(at) != call) return 0;
  if (strcmp(kind, "kill") == 0) raise(SIGKILL);
  if (strcmp(kind, "short") == 0) return 1;
  errno = atoi(kind);
  return -1;
}

__attribute__((destructor)) static void tell_calls(void) {
  const char *file = getenv("CHAOS_CALLS");
  FILE *out = file == NULL ? NULL : fopen(file, "w");
  if (out == NULL) return;
  fwrite(letters, 1, calls < MOST_CALLS ? (size_t)calls : MOST_CALLS, out);
  fclose(out);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                                                                     \
  int name(const char *path, int flags, ...) {                                                                         \
    va_list rest;                                                                                                      \
    va_start(rest, flags);                                                                                             \
    mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;                                                        \
    va_end(rest);                                                                                                      \
    if (is_ours(path) && fault('o') < 0) return -1;                                                                    \
    return REAL(name)(path, flags, mode);                                                                              \
  }
OPEN(open)
OPEN(open64)

#define TRANSFER(name, letter, parameters, arguments)                                                                  \
  ssize_t name parameters {                                                                                            \
    int what = is_ours_open(fd) ? fault(letter) : 0;                                                                   \
    if (what < 0) return -1;                                                                                           \
    if (what > 0 && letter == 'w' && count > 1) count = count / 2;                                                     \
    return REAL(name) arguments;                                                                                       \
  }
TRANSFER(read, 'r', (int fd, void *bytes, size_t count), (fd, bytes, count))
TRANSFER(pread64, 'r', (int fd, void *bytes, size_t count, off64_t offset), (fd, bytes, count, offset))
TRANSFER(write, 'w', (int fd, const void *bytes, size_t count), (fd, bytes, count))
TRANSFER(pwrite64, 'w', (int fd, const void *bytes, size_t count, off64_t offset), (fd, bytes, count, offset))
/* Several buffers at once: short by whole buffers. */
TRANSFER(writev, 'w', (int fd, const struct iovec *bytes, int count), (fd, bytes, count))

#define ON_FILE(name, letter, parameters, arguments)                                                                   \
  int name parameters {                                                                                                \
    if (is_ours_open(fd) && fault(letter) < 0) return -1;                                                              \
    return REAL(name) arguments;                                                                                       \
  }
ON_FILE(fsync, 'f', (int fd), (fd))
ON_FILE(fdatasync, 'f', (int fd), (fd))
ON_FILE(ftruncate64, 't', (int fd, off64_t length), (fd, length))

int rename(const char *from, const char *to) {
  if (is_ours(to) && fault('n') < 0) return -1;
  return REAL(rename)(from, to);
}
