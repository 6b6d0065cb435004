/*
 * Makes the n-th file system call of a process fail, or kills the process there. Loaded with LD_PRELOAD; counts the
 * calls of all threads on files below CHAOS_FOLDER.
 *
 *   CHAOS_AT      number of the call, from 1; 0 or unset: none
 *   CHAOS_FAULT   kill | short (a short read or write) | the number of an errno
 *   CHAOS_CALLS   file to which the letter and path of each counted call are written at exit, one per line:
 *                 o open, r read, w write, t truncate, f fsync, c close, n rename, u unlink or rmdir, m mkdir, s symlink
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
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_CALLS (1 << 16)

static long calls;
static char *log_lines[MAX_CALLS];

static int is_watched(const char *path) {
  const char *folder = getenv("CHAOS_FOLDER");
  return folder != NULL && path != NULL && strncmp(path, folder, strlen(folder)) == 0;
}

/* The path of a descriptor, or NULL if it is not watched. */
static const char *watched_path(int fd, char path[4096]) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, 4095);
  if (length < 0) return NULL;
  path[length] = 0;
  return is_watched(path) ? path : NULL;
}

/* Counts a call. Returns 0 to continue, -1 with errno set to fail, 1 for a short transfer. */
static int fault(char letter, const char *path) {
  long call = __sync_add_and_fetch(&calls, 1);
  if (getenv("CHAOS_CALLS") != NULL && call <= MAX_CALLS && asprintf(&log_lines[call - 1], "%c %s", letter, path) < 0)
    abort();
  const char *at = getenv("CHAOS_AT"), *kind = getenv("CHAOS_FAULT");
  if (at == NULL || kind == NULL || atol(at) != call) return 0;
  if (strcmp(kind, "kill") == 0) raise(SIGKILL);
  if (strcmp(kind, "short") == 0) return 1;
  errno = atoi(kind);
  return -1;
}

__attribute__((destructor)) static void write_log(void) {
  const char *file = getenv("CHAOS_CALLS");
  FILE *out = file == NULL ? NULL : fopen(file, "w");
  if (out == NULL) return;
  for (long call = 0; call < calls && call < MAX_CALLS; call++) fprintf(out, "%s\n", log_lines[call]);
  fclose(out);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                                                                     \
  int name(const char *path, int flags, ...) {                                                                         \
    va_list rest;                                                                                                      \
    va_start(rest, flags);                                                                                             \
    mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;                                                        \
    va_end(rest);                                                                                                      \
    if (is_watched(path) && fault('o', path) < 0) return -1;                                                           \
    return REAL(name)(path, flags, mode);                                                                              \
  }
OPEN(open)
OPEN(open64)

#define TRANSFER(name, letter, parameters, arguments)                                                                  \
  ssize_t name parameters {                                                                                            \
    char path[4096];                                                                                                   \
    int result = watched_path(fd, path) ? fault(letter, path) : 0;                                                     \
    if (result < 0) return -1;                                                                                         \
    if (result > 0 && count > 1) count = count / 2;                                                                     \
    return REAL(name) arguments;                                                                                       \
  }
TRANSFER(read, 'r', (int fd, void *bytes, size_t count), (fd, bytes, count))
TRANSFER(pread64, 'r', (int fd, void *bytes, size_t count, off64_t offset), (fd, bytes, count, offset))
TRANSFER(write, 'w', (int fd, const void *bytes, size_t count), (fd, bytes, count))
TRANSFER(pwrite64, 'w', (int fd, const void *bytes, size_t count, off64_t offset), (fd, bytes, count, offset))
/* Several buffers: a short write omits whole buffers. */
TRANSFER(writev, 'w', (int fd, const struct iovec *bytes, int count), (fd, bytes, count))

#define ON_FILE(name, letter, parameters, arguments)                                                                   \
  int name parameters {                                                                                                \
    char path[4096];                                                                                                   \
    if (watched_path(fd, path) && fault(letter, path) < 0) return -1;                                                  \
    return REAL(name) arguments;                                                                                       \
  }
ON_FILE(fsync, 'f', (int fd), (fd))
ON_FILE(fdatasync, 'f', (int fd), (fd))
ON_FILE(ftruncate64, 't', (int fd, off64_t length), (fd, length))

/* A failing close releases the descriptor all the same. */
int close(int fd) {
  char path[4096];
  if (!watched_path(fd, path) || fault('c', path) >= 0) return REAL(close)(fd);
  int error = errno;
  REAL(close)(fd);
  errno = error;
  return -1;
}

#define ON_PATH(name, letter, target, parameters, arguments)                                                           \
  int name parameters {                                                                                                \
    if (is_watched(target) && fault(letter, target) < 0) return -1;                                                    \
    return REAL(name) arguments;                                                                                       \
  }
ON_PATH(rename, 'n', to, (const char *from, const char *to), (from, to))
ON_PATH(unlink, 'u', path, (const char *path), (path))
ON_PATH(rmdir, 'u', path, (const char *path), (path))
ON_PATH(mkdir, 'm', path, (const char *path, mode_t mode), (path, mode))
ON_PATH(symlink, 's', path, (const char *to, const char *path), (to, path))
