/* Moves the wall clock of the processes that are started with this: by as many seconds as a file says at each moment. All
   other clocks are left alone, as a step of the wall clock leaves them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset(void) {
    static const volatile int64_t *seconds;
    const char *path = getenv("HELIOTROPE_TEST_WALL");
    if (!seconds && path) {
        int file = open(path, O_RDONLY | O_CLOEXEC);
        void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, file, 0);
        if (file >= 0) close(file);
        if (mapped != MAP_FAILED) seconds = mapped;
    }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    long answer = syscall(SYS_clock_gettime, clock, time);
    if (answer == 0 && clock == CLOCK_REALTIME && offset()) time->tv_sec += *offset();
    return (int)answer;
}
