/*
 * write.c: changing rows that exist. Calls the buffer manager and writes WAL; called by insert.c
 * and vacuum.c.
 *
 * The records are those of core's generic resource manager, which any server replays without
 * preloading anything; but the differences are found here. GenericXLog copies a page, compares it
 * byte by byte and copies it back, which took more than a third of an insert; here only the row is
 * copied, and compared by words.
 */
#include "compat.h"

#include "access/rmgr.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "miscadmin.h"

#include "hnsw/hnsw.h"

/* A stretch of a page and what it is to become. There is one change at a time in a backend. */
typedef struct Image
{
	Size		offset;			/* in the page */
	Size		size;
	PGAlignedBlock bytes;
} Image;

static Image images[HNSW_WRITE_PAGES];

/*
 * What differs, in generic WAL's form: {uint16 offset, uint16 length, bytes} each. Differences that
 * are less than a word apart become one, so it is never longer than this.
 */
static char deltas[HNSW_WRITE_PAGES][BLCKSZ + 64];

static void
image_take(Image *image, Page page, Size offset, Size size)
{
	image->offset = offset;
	image->size = size;
	memcpy(image->bytes.data, (char *) page + offset, size);
}

/* Words of eight bytes, the last one perhaps shorter. */
static inline bool
same_word(const char *a, const char *b, Size left)
{
	uint64		x;
	uint64		y;

	if (left < sizeof(x))
		return memcmp(a, b, left) == 0;
	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x == y;
}

/* Bring the page up to the image; returns the length of the delta. */
static Size
image_apply(const Image *image, Page page, char *delta)
{
	char	   *to = (char *) page + image->offset;
	const char *from = image->bytes.data;
	char	   *end = delta;
	Size		at = 0;

	while (at < image->size)
	{
		Size		first = at;
		uint16		head[2];

		while (at < image->size && !same_word(to + at, from + at, image->size - at))
			at += sizeof(uint64);
		at = Min(at, image->size);
		if (at > first)
		{
			head[0] = image->offset + first;
			head[1] = at - first;
			memcpy(end, head, sizeof(head));
			memcpy(end + sizeof(head), from + first, at - first);
			end += sizeof(head) + at - first;
			memcpy(to + first, from + first, at - first);
		}
		at += sizeof(uint64);
	}
	return end - delta;
}

/*
 * Lock a row's page exclusively and begin a change of write->row, which write_end or write_abort
 * must finish.
 */
void
hnsw_write_begin(HnswWrite *write, Relation index, const HnswMeta *meta, uint32 number)
{
	Size		offset = HnswRowOffset(meta, number);

	write->index = index;
	write->meta = meta;
	write->block = HnswRowBlock(meta, number);
	write->buffers[0] = hnsw_read_block(index, write->block);
	LockBuffer(write->buffers[0], BUFFER_LOCK_EXCLUSIVE);
	hnsw_page_check(index, write->buffers[0], HnswRowKind(meta));
	for (int i = 1; i < HNSW_WRITE_PAGES; i++)
		write->buffers[i] = InvalidBuffer;
	image_take(&images[0], BufferGetPage(write->buffers[0]), offset,
			   Min(meta->row_size, HNSW_PAGE_ROOM));
	write->row = (HnswRow *) images[0].bytes.data;
}

/*
 * Change bytes of the row at an offset. Bytes of a wide row may be on further pages: those are
 * locked after the first page, in ascending order, and stay locked until the end; at most two of
 * them.
 */
void
hnsw_write_bytes(HnswWrite *write, Size offset, const void *bytes, Size size)
{
	const char *from = bytes;

	while (size > 0)
	{
		int			i = offset / HNSW_PAGE_ROOM;
		Size		within = offset % HNSW_PAGE_ROOM;
		Size		part = Min(size, HNSW_PAGE_ROOM - within);
		int			at = 0;

		if (i > 0)
		{
			for (at = 1; at < HNSW_WRITE_PAGES && BufferIsValid(write->buffers[at]); at++)
				if (BufferGetBlockNumber(write->buffers[at]) == write->block + i)
					break;
			if (at == HNSW_WRITE_PAGES)
				elog(ERROR, "too many pages in one change of a row");
			if (!BufferIsValid(write->buffers[at]))
			{
				write->buffers[at] = ReadBuffer(write->index, write->block + i);
				LockBuffer(write->buffers[at], BUFFER_LOCK_EXCLUSIVE);
				hnsw_page_check(write->index, write->buffers[at], HNSW_PAGE_REST);
				image_take(&images[at], BufferGetPage(write->buffers[at]), HNSW_PAGE_START,
						   HNSW_PAGE_ROOM);
			}
		}
		memcpy(images[at].bytes.data + within, from, part);
		from += part;
		offset += part;
		size -= part;
	}
}

void
hnsw_write_end(HnswWrite *write)
{
	Size		lengths[HNSW_WRITE_PAGES] = {0};
	Size		total = 0;
	int			n = 0;

	START_CRIT_SECTION();
	for (; n < HNSW_WRITE_PAGES && BufferIsValid(write->buffers[n]); n++)
	{
		lengths[n] = image_apply(&images[n], BufferGetPage(write->buffers[n]), deltas[n]);
		if (lengths[n] > 0)
			MarkBufferDirty(write->buffers[n]);
		total += lengths[n];
	}
	if (total > 0 && RelationNeedsWAL(write->index))
	{
		XLogRecPtr	lsn;

		XLogBeginInsert();
		for (int i = 0; i < n; i++)
			if (lengths[i] > 0)
			{
				XLogRegisterBuffer(i, write->buffers[i], REGBUF_STANDARD);
				XLogRegisterBufData(i, deltas[i], lengths[i]);
			}
		lsn = XLogInsert(RM_GENERIC_ID, 0);
		for (int i = 0; i < n; i++)
			if (lengths[i] > 0)
				PageSetLSN(BufferGetPage(write->buffers[i]), lsn);
	}
	END_CRIT_SECTION();
	hnsw_write_abort(write);
}

/* Forget the change. */
void
hnsw_write_abort(HnswWrite *write)
{
	for (int i = HNSW_WRITE_PAGES - 1; i >= 0; i--)
		if (BufferIsValid(write->buffers[i]))
			UnlockReleaseBuffer(write->buffers[i]);
}
