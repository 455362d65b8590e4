/*
 * team.c: threads that share work out among themselves. Pure C: threads block all signals, and what
 * they call must not touch PostgreSQL. Called by the graph build and by hnsw/ for encoding.
 */
#include <pthread.h>
#include <signal.h>

#include "quant/quant.h"

typedef struct Team
{
	uint64_t	next;			/* unit of work that is claimed next */
	uint64_t	total;
	int			step;
	int			stopped;
	VdistTeamBody body;
	void	   *arg;
} Team;

typedef struct Member
{
	Team	   *team;
	int			number;
} Member;

static void
work(Team *team, int thread)
{
	while (!__atomic_load_n(&team->stopped, __ATOMIC_RELAXED))
	{
		uint64_t	from = __atomic_fetch_add(&team->next, (uint64_t) team->step,
											  __ATOMIC_RELAXED);
		uint64_t	to = from + (uint64_t) team->step;

		if (from >= team->total)
			break;
		if (!team->body(team->arg, thread, from, to < team->total ? to : team->total))
			__atomic_store_n(&team->stopped, 1, __ATOMIC_RELAXED);
	}
}

static void *
member_main(void *arg)
{
	const Member *member = arg;

	work(member->team, member->number);
	return NULL;
}

bool
vdist_team_run(int threads, uint64_t total, int step, VdistTeamBody body, void *arg)
{
	Team		team = {0, total, step, 0, body, arg};
	Member		members[VDIST_TEAM_MAX];
	pthread_t	handles[VDIST_TEAM_MAX];
	int			started = 1;
	sigset_t	all;
	sigset_t	saved;

	/* signals are the calling thread's business */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	for (; started < threads && started < VDIST_TEAM_MAX && (uint64_t) started * step < total;
		 started++)
	{
		members[started].team = &team;
		members[started].number = started;
		if (pthread_create(&handles[started], NULL, member_main, &members[started]) != 0)
			break;
	}
	pthread_sigmask(SIG_SETMASK, &saved, NULL);

	work(&team, 0);
	for (int i = 1; i < started; i++)
		pthread_join(handles[i], NULL);
	return !team.stopped;
}
