/*
 * options.c: the options of shards (foreign servers) and of user mappings: which there are, whether
 * their values make sense, who may set them. Called by CREATE/ALTER SERVER and USER MAPPING through
 * the validator, and by conn.c for the meaning of "hosts".
 */
#include "compat.h"

#include "access/reloptions.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "lib/stringinfo.h"
#include "libpq-fe.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "cluster/cluster.h"

#define DEFAULT_PORT "5432"

PG_FUNCTION_INFO_V1(vdist_fdw_validator);

/* ---- hosts ---- */

static void
hosts_error(const char *hosts, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid hosts \"%s\"", hosts),
			 errdetail("%s", detail),
			 errhint("Write a list of host:port, such as \"db1:5432,db2:5432\", \"[::1]:5432\" or \"/var/run/postgresql:5432\".")));
}

static void
check_port(const char *hosts, const char *port)
{
	size_t		length = strlen(port);

	if (length < 1 || length > 5 || strspn(port, "0123456789") != length ||
		atoi(port) < 1 || atoi(port) > 65535)
		hosts_error(hosts, psprintf("\"%s\" is not a port between 1 and 65535.", port));
}

/*
 * Split 'a:5432,/tmp/x:5433,[::1]' into libpq's parallel lists for "host" and "port", palloc'd.
 * A port left out is 5432. Error when malformed.
 */
void
vdist_hosts_parse(const char *hosts, char **host, char **port)
{
	StringInfoData hostlist;
	StringInfoData portlist;
	char	   *copy = pstrdup(hosts);
	char	   *item = copy;

	initStringInfo(&hostlist);
	initStringInfo(&portlist);
	while (item != NULL)
	{
		char	   *end = strchr(item, ',');
		char	   *colon;
		const char *itemport = DEFAULT_PORT;

		if (end != NULL)
			*end = '\0';
		while (*item == ' ')
			item++;
		for (size_t n = strlen(item); n > 0 && item[n - 1] == ' '; n--)
			item[n - 1] = '\0';

		if (*item == '[')
		{
			char	   *bracket = strchr(item, ']');

			if (bracket == NULL || (bracket[1] != '\0' && bracket[1] != ':'))
				hosts_error(hosts, "An address in brackets ends with \"]\" or \"]:port\".");
			colon = bracket[1] == ':' ? bracket + 1 : NULL;
			*bracket = '\0';
			item++;
		}
		else
		{
			colon = strrchr(item, ':');
			if (colon != NULL && *item != '/' && strchr(item, ':') != colon)
				hosts_error(hosts, "An IPv6 address must be written in brackets.");
		}
		if (colon != NULL)
		{
			*colon = '\0';
			itemport = colon + 1;
			check_port(hosts, itemport);
		}
		if (*item == '\0')
			hosts_error(hosts, "A host is empty.");

		appendStringInfo(&hostlist, "%s%s", hostlist.len > 0 ? "," : "", item);
		appendStringInfo(&portlist, "%s%s", portlist.len > 0 ? "," : "", itemport);
		item = end != NULL ? end + 1 : NULL;
	}
	pfree(copy);
	*host = hostlist.data;
	*port = portlist.data;
}

/* ---- validator ---- */

/* libpq options that vdist sets itself, or that make no sense for a shard. */
static const char *const own_options[] = {
	"host", "hostaddr", "port", "options", "replication", "client_encoding",
	"fallback_application_name", "service", NULL
};

static bool
is_own_option(const char *name)
{
	for (int i = 0; own_options[i] != NULL; i++)
		if (strcmp(own_options[i], name) == 0)
			return true;
	return false;
}

/* Options of a user mapping; sslcert and sslkey may stand in either place. */
static bool
is_mapping_option(const PQconninfoOption *option)
{
	return strcmp(option->keyword, "user") == 0 ||
		strcmp(option->keyword, "sslcert") == 0 ||
		strcmp(option->keyword, "sslkey") == 0 ||
		strchr(option->dispchar, '*') != NULL;
}

static bool
is_server_option(const PQconninfoOption *option)
{
	return !is_own_option(option->keyword) &&
		strcmp(option->keyword, "user") != 0 &&
		strchr(option->dispchar, '*') == NULL &&
		strchr(option->dispchar, 'D') == NULL;
}

/* Fills names with a comma-separated list of what catalog (an OID of a system catalog) allows. */
static bool
option_allowed(const char *name, Oid catalog, StringInfo names)
{
	PQconninfoOption *options = PQconndefaults();
	bool		allowed = false;

	if (options == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Could not get libpq's default connection options.")));

	if (catalog == ForeignServerRelationId)
	{
		appendStringInfoString(names, "hosts");
		allowed = strcmp(name, "hosts") == 0;
	}
	else if (catalog == UserMappingRelationId)
	{
		appendStringInfoString(names, "password_required");
		allowed = strcmp(name, "password_required") == 0;
	}

	for (PQconninfoOption *option = options; option->keyword != NULL; option++)
	{
		if ((catalog == ForeignServerRelationId && is_server_option(option)) ||
			(catalog == UserMappingRelationId && is_mapping_option(option)))
		{
			appendStringInfo(names, ", %s", option->keyword);
			allowed = allowed || strcmp(name, option->keyword) == 0;
		}
	}
	PQconninfoFree(options);
	return allowed;
}

Datum
vdist_fdw_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *def = lfirst(cell);
		StringInfoData names;

		initStringInfo(&names);
		if (!option_allowed(def->defname, catalog, &names))
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("invalid option \"%s\"", def->defname),
					 is_own_option(def->defname) && catalog == ForeignServerRelationId ?
					 errhint("vdist sets this itself; servers and ports of a shard stand in option \"hosts\".") :
					 names.len > 0 ?
					 errhint("Valid options in this context are: %s", names.data) :
					 errhint("There are no valid options in this context.")));

		if (strcmp(def->defname, "hosts") == 0)
		{
			char	   *host;
			char	   *port;

			vdist_hosts_parse(defGetString(def), &host, &port);
		}
		else if (strcmp(def->defname, "password_required") == 0)
		{
			if (!defGetBoolean(def) && !superuser())
				ereport(ERROR,
						(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						 errmsg("permission denied to set password_required to false"),
						 errhint("A user mapping without password may only be made or changed by a superuser.")));
		}
		else if (catalog == UserMappingRelationId &&
				 (strcmp(def->defname, "sslcert") == 0 || strcmp(def->defname, "sslkey") == 0))
		{
			/* They name files that the server process can read and its user perhaps cannot. */
			if (!superuser())
				ereport(ERROR,
						(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						 errmsg("permission denied to set %s in a user mapping", def->defname),
						 errhint("A user mapping with a certificate may only be made or changed by a superuser.")));
		}
	}
	PG_RETURN_VOID();
}
