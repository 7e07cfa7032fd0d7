// A disk that loses what was not synced, for a process that is started with LD_PRELOAD: fsync(2) and fdatasync(2) copy the file, or the
// names of the directory, to where a power cut finds them. Nothing else is copied, so a sync that this does not see counts as none.
//
//   UNSYNCED_LIVE     the directory of the process
//   UNSYNCED_DURABLE  `names`: what the last sync of the directory has made durable, `<inode> <name>` in each line
//                     `content/<inode>`: what the last sync of that file has
//                     `held/<inode>`: the file itself, so that no other one gets its number
//   UNSYNCED_BOOT     a file with the id of this run of the machine, in place of the system's
//
// A sync takes a moment, in which the process can be killed: before it, during the copy, or after it.

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
// The longest pause before a copy, in microseconds.
#define MAX_PAUSE 3000

// Copies are made one after the other: an older one never replaces a newer one.
static pthread_mutex_t copying = PTHREAD_MUTEX_INITIALIZER;

// The environment cannot do what it must: the test that uses this is void.
static void give_up(const char *what) {
    dprintf(STDERR_FILENO, "unsynced: %s: %s\n", what, strerror(errno));
    abort();
}

static void durable_path(char *path, const char *kind, ino_t inode) {
    snprintf(path, PATH_MAX, "%s/%s/%llu", getenv("UNSYNCED_DURABLE"), kind, (unsigned long long)inode);
}

// Keeps the number of a file from being given to another one; returns 0 if the file has been removed, and has no durable name.
static int hold(const char *path, ino_t inode) {
    char held[PATH_MAX];
    durable_path(held, "held", inode);
    if (linkat(AT_FDCWD, path, AT_FDCWD, held, AT_SYMLINK_FOLLOW) == 0 || errno == EEXIST) return 1;
    if (errno != ENOENT) give_up("cannot link");
    return 0;
}

static void copy_content(const char *path, const struct stat *status) {
    char target[PATH_MAX], bytes[1 << 16];
    if (!hold(path, status->st_ino)) return;
    durable_path(target, "content", status->st_ino);
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int to = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (from < 0 || to < 0) give_up("cannot copy");
    off_t at = 0;
    ssize_t length;
    while ((length = pread(from, bytes, sizeof bytes, at)) > 0) {
        if (pwrite(to, bytes, length, at) != length) give_up("cannot write");
        at += length;
    }
    if (length < 0 || ftruncate(to, at) != 0) give_up("cannot copy");
    close(from);
    close(to);
}

static void copy_names(const char *live) {
    char names[PATH_MAX], next[PATH_MAX], path[PATH_MAX];
    snprintf(names, sizeof names, "%s/names", getenv("UNSYNCED_DURABLE"));
    snprintf(next, sizeof next, "%s/names.next", getenv("UNSYNCED_DURABLE"));
    DIR *directory = opendir(live);
    FILE *list = fopen(next, "we");
    if (!directory || !list) give_up("cannot list");
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%s/%s", live, entry->d_name);
        if (hold(path, entry->d_ino)) fprintf(list, "%llu %s\n", (unsigned long long)entry->d_ino, entry->d_name);
    }
    closedir(directory);
    if (fclose(list) != 0 || rename(next, names) != 0) give_up("cannot write the names");
}

static int sync_durably(int file) {
    const char *live = getenv("UNSYNCED_LIVE");
    char link[64], path[PATH_MAX];
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || fstat(file, &status) != 0) return -1;
    path[length] = 0;
    size_t prefix = strlen(live);
    if (strncmp(path, live, prefix) != 0 || (path[prefix] != '/' && path[prefix] != 0)) return 0;
    usleep(rand() % MAX_PAUSE);
    pthread_mutex_lock(&copying);
    if (S_ISDIR(status.st_mode)) copy_names(live);
    else copy_content(link, &status);
    pthread_mutex_unlock(&copying);
    return 0;
}

int fsync(int file) { return sync_durably(file); }
int fdatasync(int file) { return sync_durably(file); }

static int open_other(const char *name, const char *path, int flags, mode_t mode) {
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
    return real(strcmp(path, BOOT_ID) == 0 ? getenv("UNSYNCED_BOOT") : path, flags, mode);
}

#define OPEN(name)                                         \
    int name(const char *path, int flags, ...) {           \
        va_list rest;                                      \
        va_start(rest, flags);                             \
        mode_t mode = va_arg(rest, mode_t);                \
        va_end(rest);                                      \
        return open_other(#name, path, flags, mode);       \
    }
OPEN(open)
OPEN(open64)
