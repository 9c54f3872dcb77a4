/*-------------------------------------------------------------------------
 *
 * full_disk.c
 *	  A file system that is full now and then, for 016_full_disk.pl.
 *
 * Preloaded (LD_PRELOAD) into a server.  While there is a file with the name in
 * the environment's NS_FULL_DISK, it says what fails with ENOSPC: "write PART"
 * for whatever would make a file longer whose path contains PART, "fsync PART"
 * for bringing such a file to disk.  What a file has already can be written
 * anew, as on most full file systems.
 *
 * A server writes in signal handlers too, so nothing here allocates memory.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* a copy, as the server puts the titles of its processes where the environment was */
static char flag_name[1024];
static ssize_t (*real_write) (int, const void *, size_t);
static ssize_t (*real_pwrite) (int, const void *, size_t, off_t);
static ssize_t (*real_pwritev) (int, const struct iovec *, int, off_t);
static int	(*real_fallocate) (int, off_t, off_t);
static int	(*real_fsync) (int);

__attribute__((constructor))
static void
find_real(void)
{
	const char *name = getenv("NS_FULL_DISK");

	if (name != NULL)
		snprintf(flag_name, sizeof(flag_name), "%s", name);
	real_write = dlsym(RTLD_NEXT, "write");
	real_pwrite = dlsym(RTLD_NEXT, "pwrite");
	real_pwritev = dlsym(RTLD_NEXT, "pwritev");
	real_fallocate = dlsym(RTLD_NEXT, "posix_fallocate");
	real_fsync = dlsym(RTLD_NEXT, "fsync");
}

/* Whether a call fails for the file with this descriptor. */
static bool
fails(const char *call, int fd)
{
	char		what[256];
	char		link[64];
	char		path[1024];
	size_t		call_len = strlen(call);
	ssize_t		len;
	int			flag;

	if (flag_name[0] == '\0' || (flag = open(flag_name, O_RDONLY)) < 0)
		return false;
	len = read(flag, what, sizeof(what) - 1);
	close(flag);
	if (len <= 0)
		return false;
	what[len] = '\0';
	if (strncmp(what, call, call_len) != 0 || what[call_len] != ' ')
		return false;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len <= 0)
		return false;
	path[len] = '\0';
	return strstr(path, what + call_len + 1) != NULL;
}

/* Whether there is no space for so much from there on; -1: from where the file is at. */
static bool
is_full(int fd, off_t start, size_t len)
{
	int			saved_errno = errno;
	struct stat st;
	bool		result = false;

	if (len > 0 && fails("write", fd) && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
	{
		if (start < 0)
			start = fcntl(fd, F_GETFL) & O_APPEND ? st.st_size : lseek(fd, 0, SEEK_CUR);
		result = start + (off_t) len > st.st_size;
	}
	errno = result ? ENOSPC : saved_errno;
	return result;
}

ssize_t
write(int fd, const void *data, size_t len)
{
	return is_full(fd, -1, len) ? -1 : real_write(fd, data, len);
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t start)
{
	return is_full(fd, start, len) ? -1 : real_pwrite(fd, data, len, start);
}

ssize_t
pwritev(int fd, const struct iovec *parts, int n, off_t start)
{
	size_t		len = 0;

	for (int i = 0; i < n; i++)
		len += parts[i].iov_len;
	return is_full(fd, start, len) ? -1 : real_pwritev(fd, parts, n, start);
}

int
posix_fallocate(int fd, off_t start, off_t len)
{
	return is_full(fd, start, len) ? ENOSPC : real_fallocate(fd, start, len);
}

int
fsync(int fd)
{
	int			saved_errno = errno;

	if (fails("fsync", fd))
	{
		errno = ENOSPC;
		return -1;
	}
	errno = saved_errno;
	return real_fsync(fd);
}

/* The names of these calls in a program that was compiled for 64-bit offsets. */
ssize_t		pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t		pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));
int			posix_fallocate64(int, off_t, off_t) __attribute__((alias("posix_fallocate")));
