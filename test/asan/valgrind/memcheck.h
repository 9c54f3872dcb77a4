/*-------------------------------------------------------------------------
 *
 * memcheck.h
 *	  What the server tells Valgrind of its memory, told to AddressSanitizer.
 *
 * A server with USE_VALGRIND says which bytes of a memory context belong to a
 * chunk, and which buffers a process has pinned.  In place of Valgrind's own
 * header this one hands that on, so that AddressSanitizer, which is much
 * faster, knows about palloc and pins as well.  It does not know whether a
 * byte has been written.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_MEMCHECK_H
#define NOTIFY_STATS_MEMCHECK_H

#include <sanitizer/asan_interface.h>

#define VALGRIND_MAKE_MEM_NOACCESS(address, size) __asan_poison_memory_region(address, size)
#define VALGRIND_MAKE_MEM_UNDEFINED(address, size) __asan_unpoison_memory_region(address, size)
#define VALGRIND_MAKE_MEM_DEFINED(address, size) __asan_unpoison_memory_region(address, size)
#define VALGRIND_CHECK_MEM_IS_DEFINED(address, size) ((void) 0)

/* What is freed is wiped, and made inaccessible by that. */
#define VALGRIND_CREATE_MEMPOOL(pool, redzone, zeroed) ((void) 0)
#define VALGRIND_DESTROY_MEMPOOL(pool) ((void) 0)
#define VALGRIND_MEMPOOL_ALLOC(pool, address, size) __asan_unpoison_memory_region(address, size)
#define VALGRIND_MEMPOOL_FREE(pool, address) ((void) 0)
#define VALGRIND_MEMPOOL_CHANGE(pool, old, new, size) __asan_unpoison_memory_region(new, size)

#endif
