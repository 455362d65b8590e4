/*-------------------------------------------------------------------------
 * memcheck.h
 *	  What PostgreSQL tells Valgrind about its memory, told to AddressSanitizer instead.
 *
 * With USE_VALGRIND, PostgreSQL says which bytes of a memory context belong to a live allocation and
 * which pages of the buffer cache are pinned. The others are poisoned here, so that an access past an
 * allocation, after pfree() or to a page without a pin stops the server.
 *-------------------------------------------------------------------------
 */
#ifndef VDIST_MEMCHECK_H
#define VDIST_MEMCHECK_H

#include <sanitizer/asan_interface.h>

#define VALGRIND_MAKE_MEM_DEFINED(addr, size)			__asan_unpoison_memory_region((addr), (size))
#define VALGRIND_MAKE_MEM_UNDEFINED(addr, size)			__asan_unpoison_memory_region((addr), (size))
#define VALGRIND_MAKE_MEM_NOACCESS(addr, size)			__asan_poison_memory_region((addr), (size))

/* What a context takes back has been made inaccessible by wipe_mem() before. */
#define VALGRIND_CREATE_MEMPOOL(pool, redzones, zeroed)	do {} while (0)
#define VALGRIND_DESTROY_MEMPOOL(pool)					do {} while (0)
#define VALGRIND_MEMPOOL_ALLOC(pool, addr, size)		__asan_unpoison_memory_region((addr), (size))
#define VALGRIND_MEMPOOL_FREE(pool, addr)				do {} while (0)
#define VALGRIND_MEMPOOL_CHANGE(pool, old, addr, size)	__asan_unpoison_memory_region((addr), (size))

/* Whether bytes have ever been written, AddressSanitizer does not know. */
#define VALGRIND_CHECK_MEM_IS_DEFINED(addr, size)		do {} while (0)

#endif							/* VDIST_MEMCHECK_H */
