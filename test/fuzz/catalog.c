/*-------------------------------------------------------------------------
 *
 * catalog.c
 *	  Types and tables, and stubs of the server's functions that look them up
 *	  or read values.
 *
 * Types and tables come from a file that the test generated from the catalogs
 * of a real server.  Input functions read all of the text or bytes that they
 * are given, and are about as strict as the real ones.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "fuzz.h"
#include "source.h"

typedef struct Type
{
	Oid			oid;
	int			len;
	int			byval;
	char		typtype;
	int			sends;			/* whether it has a binary form */
	Oid			base;
	Oid			element;
} Type;

typedef struct Table
{
	Oid			oid;
	Oid			parent;
	int			is_source;
	char		schema[NAMEDATALEN];
	FormData_pg_class form;
	RelationData relation;
	Bitmapset  *columns;		/* columns that the source lists */
	Bitmapset  *key;			/* the replica identity */
} Table;

#define MAX_TYPES 100
#define MAX_TABLES 20

static Type types[MAX_TYPES];
static int	ntypes;
static Table tables[MAX_TABLES];
static int	ntables;

static const Type *
find_type(Oid oid)
{
	for (int i = 0; i < ntypes; i++)
		if (types[i].oid == oid)
			return &types[i];
	stub_fail("there is no type %u", oid);
}

static Table *
find_table(Oid oid)
{
	for (int i = 0; i < ntables; i++)
		if (tables[i].oid == oid)
			return &tables[i];
	return NULL;
}

/*
 * Reading the file.  Its lines have these fields, separated by tabs:
 *	type OID LENGTH BYVAL TYPTYPE HAS-BINARY-FORM BASE ELEMENT
 *	table OID PARENT RELKIND REPLIDENT IS-SOURCE SCHEMA NAME
 *	column ATTNUM TYPE TYPMOD NOTNULL IS-LISTED IS-KEY NAME
 * Columns belong to the preceding table, and are in order.  Dropped columns
 * have type 0.
 */

static bool
read_type(const char *line)
{
	Type	   *type = &types[ntypes];

	if (sscanf(line, "type\t%u\t%d\t%d\t%c\t%d\t%u\t%u", &type->oid, &type->len, &type->byval,
			   &type->typtype, &type->sends, &type->base, &type->element) != 7)
		return false;
	ntypes++;
	return true;
}

static bool
read_table(const char *line)
{
	Table	   *table = &tables[ntables];
	Form_pg_class form = &table->form;

	if (sscanf(line, "table\t%u\t%u\t%c\t%c\t%d\t%63[^\t]\t%63[^\n]",
			   &table->oid, &table->parent, &form->relkind, &form->relreplident,
			   &table->is_source, table->schema, NameStr(form->relname)) != 7)
		return false;
	form->relnamespace = table->oid;	/* see get_namespace_name */
	form->relispartition = OidIsValid(table->parent);
	table->relation.rd_id = table->oid;
	table->relation.rd_rel = form;
	ntables++;
	return true;
}

#if PG_VERSION_NUM >= 180000
void
populate_compact_attribute(TupleDesc desc, int i)
{
	Form_pg_attribute from = TupleDescAttr(desc, i);
	CompactAttribute *to = &desc->compact_attrs[i];

	to->attlen = from->attlen;
	to->attbyval = from->attbyval;
	to->attisdropped = from->attisdropped;
	to->attnullability = from->attnotnull ? ATTNULLABLE_VALID : ATTNULLABLE_UNRESTRICTED;
}

void
verify_compact_attribute(TupleDesc desc, int i)
{
}
#endif

/* Adds a column to a table, with a larger descriptor. */
static void
add_column(Table *table, const FormData_pg_attribute *column)
{
	TupleDescData sizes = {.natts = column->attnum};
	TupleDesc	desc = palloc0(TupleDescSize(&sizes));

	desc->natts = column->attnum;
	for (int i = 0; i < desc->natts; i++)
		*TupleDescAttr(desc, i) = i + 1 == column->attnum ? *column :
			*TupleDescAttr(table->relation.rd_att, i);
#if PG_VERSION_NUM >= 180000
	for (int i = 0; i < desc->natts; i++)
		populate_compact_attribute(desc, i);
#endif
	table->relation.rd_att = desc;
}

static bool
read_column(const char *line)
{
	Table	   *table = &tables[ntables - 1];
	FormData_pg_attribute column = {0};
	int			attnum;
	int			notnull;
	int			listed;
	int			key;

	if (sscanf(line, "column\t%d\t%u\t%d\t%d\t%d\t%d\t%63[^\n]", &attnum, &column.atttypid,
			   &column.atttypmod, &notnull, &listed, &key, NameStr(column.attname)) != 7)
		return false;
	column.attnum = attnum;
	column.attnotnull = notnull;
	column.attisdropped = !OidIsValid(column.atttypid);
	column.attlen = column.attisdropped ? 4 : find_type(column.atttypid)->len;
	column.attbyval = column.attisdropped || find_type(column.atttypid)->byval;
	add_column(table, &column);
	if (listed)
		table->columns = bms_add_member(table->columns, attnum);
	if (key)
		table->key = bms_add_member(table->key, attnum);
	return true;
}

void
catalog_load(const char *path)
{
	FILE	   *file = fopen(path, "r");
	char		line[1024];

	if (file == NULL)
		stub_fail("there is no %s", path);
	CurrentMemoryContext = AllocSetContextCreate(NULL, "catalog", ALLOCSET_DEFAULT_SIZES);
	while (fgets(line, sizeof(line), file) != NULL)
		if ((!read_type(line) && !read_table(line) && !read_column(line)) ||
			ntypes == MAX_TYPES || ntables == MAX_TABLES)
			stub_fail("too much, or unexpected: %s", line);
	fclose(file);
}

List *
catalog_sources(void)
{
	List	   *sources = NIL;

	for (int i = 0; i < ntables; i++)
	{
		Source	   *source = palloc0(sizeof(Source));
		int			natts = tables[i].relation.rd_att->natts;

		if (!tables[i].is_source)
			continue;
		source->relid = tables[i].oid;
		source->desc = tables[i].relation.rd_att;
		source->columns = tables[i].columns;
		source->old_row.values = palloc(sizeof(Datum) * natts);
		source->old_row.isnull = palloc(sizeof(bool) * natts);
		source->new_row.values = palloc(sizeof(Datum) * natts);
		source->new_row.isnull = palloc(sizeof(bool) * natts);
		sources = lappend(sources, source);
	}
	return sources;
}

bool
get_rel_relispartition(Oid relid)
{
	Table	   *table = find_table(relid);

	return table != NULL && table->form.relispartition;
}

char
get_rel_relkind(Oid relid)
{
	Table	   *table = find_table(relid);

	return table != NULL ? table->form.relkind : '\0';
}

char *
get_rel_name(Oid relid)
{
	Table	   *table = find_table(relid);

	return table != NULL ? pstrdup(NameStr(table->form.relname)) : NULL;
}

char *
get_namespace_name(Oid oid)
{
	return pstrdup(find_table(oid)->schema);	/* a table's OID, see read_table */
}

/* All transactions have ended, and nothing changes in this catalog. */
void
XactLockTableWait(TransactionId xid, Relation rel, ItemPointer ctid, XLTW_Oper oper)
{
}

void
AcceptInvalidationMessages(void)
{
}

List *
get_partition_ancestors(Oid relid)
{
	List	   *ancestors = NIL;

	for (relid = find_table(relid)->parent; OidIsValid(relid); relid = find_table(relid)->parent)
		ancestors = lappend_oid(ancestors, relid);
	return ancestors;
}

List *
find_all_inheritors(Oid parent, LOCKMODE mode, List **numparents)
{
	List	   *result = lappend_oid(NIL, parent);

	for (int i = 0; i < ntables; i++)
		if (tables[i].parent == parent)
			result = list_concat(result, find_all_inheritors(tables[i].oid, mode, NULL));
	return result;
}

AttrNumber
get_attnum(Oid relid, const char *name)
{
	TupleDesc	desc = find_table(relid)->relation.rd_att;

	for (int i = 0; i < desc->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(desc, i)->attname), name) == 0)
			return i + 1;
	return InvalidAttrNumber;
}

Relation
relation_open(Oid relid, LOCKMODE mode)
{
	return &find_table(relid)->relation;
}

void
relation_close(Relation relation, LOCKMODE mode)
{
}

bool
source_identity_covers(Relation relation, char **names, int nnames)
{
	for (int i = 0; i < nnames; i++)
		if (!bms_is_member(get_attnum(relation->rd_id, names[i]), find_table(relation->rd_id)->key))
			return false;
	return true;
}

int
GetDatabaseEncoding(void)
{
	return PG_UTF8;
}

Oid
getBaseType(Oid oid)
{
	return OidIsValid(find_type(oid)->base) ? find_type(oid)->base : oid;
}

Oid
getBaseTypeAndTypmod(Oid oid, int32 *typmod)
{
	return getBaseType(oid);
}

Oid
get_element_type(Oid oid)
{
	return find_type(oid)->element;
}

HeapTuple
SearchSysCache1(int cache, Datum key)
{
	static union
	{
		HeapTupleHeaderData header;
		char		bytes[SizeofHeapTupleHeader + sizeof(FormData_pg_type) + 8];
	}			data;
	static HeapTupleData tuple = {.t_data = &data.header};
	const Type *type = find_type(DatumGetObjectId(key));
	Form_pg_type form;

	if (cache != TYPEOID)
		stub_fail("syscache %d", cache);
	data.header.t_hoff = MAXALIGN(SizeofHeapTupleHeader);
	form = (Form_pg_type) GETSTRUCT(&tuple);
	form->typtype = type->typtype;
	form->typsend = form->typreceive = type->sends ? type->oid : InvalidOid;
	return &tuple;
}

void
ReleaseSysCache(HeapTuple tuple)
{
}

TypeCacheEntry *
lookup_type_cache(Oid oid, int flags)
{
	static TypeCacheEntry entry;

	return &entry;				/* there are no constraints */
}

/*
 * Values
 */

/* The OID of a type also serves as the OID of its functions. */
void
getTypeInputInfo(Oid type, Oid *function, Oid *param)
{
	*function = *param = find_type(type)->oid;
}

void
getTypeBinaryInputInfo(Oid type, Oid *function, Oid *param)
{
	getTypeInputInfo(type, function, param);
}

void
fmgr_info_cxt(Oid function, FmgrInfo *info, MemoryContext context)
{
	info->fn_oid = function;
	info->fn_mcxt = context;
}

/* Makes an arbitrary value of a type from bytes. */
static Datum
make_datum(const Type *type, const char *bytes, int len)
{
	char	   *result;
	Datum		value = len;

	if (type->byval)
	{
		for (int i = 0; i < len; i++)
			value = value * 31 + (unsigned char) bytes[i];
		return value;
	}
	if (type->len > 0)
	{
		result = palloc0(type->len);
		memcpy(result, bytes, Min(len, type->len));
	}
	else
	{
		result = palloc(VARHDRSZ + len);
		SET_VARSIZE(result, VARHDRSZ + len);
		memcpy(VARDATA(result), bytes, len);
	}
	return PointerGetDatum(result);
}

Datum
InputFunctionCall(FmgrInfo *info, char *string, Oid param, int32 typmod)
{
	Oid			type = info->fn_oid;
	size_t		len = strlen(string);
	bool		valid = true;

	if (type == INT4OID || type == INT8OID)
		valid = len > 0 && strspn(string, "-0123456789") == len;
	else if (type == BOOLOID)
		valid = len > 0 && (strncmp(string, "true", len) == 0 || strncmp(string, "false", len) == 0);
	else if (type == UUIDOID)
		valid = len == 36 && strspn(string, "-0123456789abcdef") == len;
	else if (type == BYTEAOID)
		valid = strncmp(string, "\\x", 2) == 0 && strspn(string + 2, "0123456789abcdef") == len - 2;
	if (!valid)
		ereport(ERROR, errmsg("invalid input syntax for type %u: \"%s\"", type, string));
	return make_datum(find_type(type), string, len);
}

Datum
ReceiveFunctionCall(FmgrInfo *info, StringInfo buf, Oid param, int32 typmod)
{
	const Type *type = find_type(info->fn_oid);
	int			len = type->len > 0 && type->typtype != TYPTYPE_ENUM ?
		type->len : buf->len - buf->cursor;

	/* textrecv and other functions rely on this */
	if (buf->data[buf->len] != '\0')
		stub_fail("a value without a NUL behind it");
	return make_datum(type, pq_getmsgbytes(buf, len), len);
}
