/*-------------------------------------------------------------------------
 *
 * type_parts.c
 *	  The types that values consist of, and how ALTER TYPE can change them.
 *
 * Everything is looked up in the system caches, without locks.  One caller is
 * an event trigger, which must not wait.  Callers that need the answer to stay
 * valid first lock the relations of composite types, and the enums.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "type_parts.h"

/* prefix of the description of an enum */
#define ENUM_PREFIX "enum"

/*
 * Types whose output functions write names of other objects.
 */
static const Oid naming_types[] = {
	REGCLASSOID, REGCOLLATIONOID, REGCONFIGOID, REGDICTIONARYOID,
	REGNAMESPACEOID, REGOPEROID,
	REGOPERATOROID, REGPROCOID, REGPROCEDUREOID, REGROLEOID, REGTYPEOID,
	ACLITEMOID
};

/*
 * Returns whether a type can be altered.  Types of the server itself cannot.
 */
bool
type_is_alterable(Oid type)
{
	return type >= FirstNormalObjectId;
}

/* Copies the catalog row of a type; returns false if it no longer exists. */
static bool
look_up(Oid type, FormData_pg_type *form)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));

	if (!HeapTupleIsValid(tuple))
		return false;
	memcpy(form, GETSTRUCT(tuple), sizeof(*form));
	ReleaseSysCache(tuple);
	return true;
}

/* Returns the number of attributes of a relation, including dropped ones. */
static int
count_attributes(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	int			natts;

	if (!HeapTupleIsValid(tuple))
		return 0;
	natts = ((Form_pg_class) GETSTRUCT(tuple))->relnatts;
	ReleaseSysCache(tuple);
	return natts;
}

/* Copies the catalog row of an attribute; returns false if it is dropped. */
static bool
look_up_attribute(Oid relid, AttrNumber attnum, FormData_pg_attribute *form)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid),
										Int16GetDatum(attnum));

	if (!HeapTupleIsValid(tuple))
		return false;
	memcpy(form, GETSTRUCT(tuple), ATTRIBUTE_FIXED_PART_SIZE);
	ReleaseSysCache(tuple);
	return !form->attisdropped;
}

/* Appends the types that a type directly consists of. */
static List *
add_direct_parts(List *parts, Oid type)
{
	FormData_pg_type form;
	FormData_pg_attribute att;

	if (!look_up(type, &form))
		return parts;
	switch (form.typtype)
	{
		case TYPTYPE_COMPOSITE:
			for (int i = 1; i <= count_attributes(form.typrelid); i++)
				if (look_up_attribute(form.typrelid, i, &att))
					parts = list_append_unique_oid(parts, att.atttypid);
			return parts;
		case TYPTYPE_DOMAIN:
			return list_append_unique_oid(parts, form.typbasetype);
		case TYPTYPE_RANGE:
			return list_append_unique_oid(parts, get_range_subtype(type));
		case TYPTYPE_MULTIRANGE:
			return list_append_unique_oid(parts, get_multirange_range(type));
		default:
			return OidIsValid(form.typelem) ?
				list_append_unique_oid(parts, form.typelem) : parts;
	}
}

/*
 * Returns the types and all their parts; without "builtin", only the alterable
 * ones.
 */
static List *
all_parts(List *types, bool builtin)
{
	List	   *parts = list_copy(types);

	/* new parts are appended to the list while it is traversed */
	for (int i = 0; i < list_length(parts);)
	{
		if (!builtin && !type_is_alterable(list_nth_oid(parts, i)))
			parts = list_delete_nth_cell(parts, i);
		else
			parts = add_direct_parts(parts, list_nth_oid(parts, i++));
	}
	return parts;
}

/*
 * Returns the alterable types among the given ones and among all parts of
 * their values: attributes, elements, and the base types of domains and
 * ranges.  Takes no lock.
 */
List	   *
type_parts(List *types)
{
	return all_parts(types, false);
}

/*
 * Describes a composite type.  Attribute names do not matter: both the text
 * and the binary form of a composite value have its attributes in order, and
 * definitions refer to them by number.
 */
static char *
describe_composite(Oid relid)
{
	StringInfoData buf;
	FormData_pg_attribute att;
	int			natts = count_attributes(relid);

	initStringInfo(&buf);
	appendStringInfoString(&buf, "composite");
	for (int i = 1; i <= natts; i++)
	{
		if (look_up_attribute(relid, i, &att))
			appendStringInfo(&buf, " %u:%d:%u", att.atttypid, att.atttypmod,
							 att.attcollation);
		else
			appendStringInfoString(&buf, " dropped");
	}
	return buf.data;
}

/* Orders rows of pg_enum by OID. */
static int
compare_labels(const ListCell *a, const ListCell *b)
{
	Oid			oid_a = ((Form_pg_enum) GETSTRUCT((HeapTuple) lfirst(a)))->oid;
	Oid			oid_b = ((Form_pg_enum) GETSTRUCT((HeapTuple) lfirst(b)))->oid;

	return (oid_a > oid_b) - (oid_a < oid_b);
}

/*
 * Returns copies of the rows of pg_enum, in the order of their OIDs, so that
 * new labels come last.
 */
static List *
list_labels(Oid type)
{
	CatCList   *rows = SearchSysCacheList1(ENUMTYPOIDNAME,
										   ObjectIdGetDatum(type));
	List	   *labels = NIL;

	for (int i = 0; i < rows->n_members; i++)
		labels = lappend(labels, heap_copytuple(&rows->members[i]->tuple));
	ReleaseSysCacheList(rows);
	list_sort(labels, compare_labels);
	return labels;
}

static char *
describe_enum(Oid type, bool as_text)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	appendStringInfoString(&buf, ENUM_PREFIX);
	if (!as_text)
		return buf.data;		/* values are OIDs, independent of the labels */
	foreach(lc, list_labels(type))
	{
		Form_pg_enum label = (Form_pg_enum) GETSTRUCT((HeapTuple) lfirst(lc));

		appendStringInfo(&buf, " %u %s;", label->oid,
						 quote_literal_cstr(NameStr(label->enumlabel)));
	}
	return buf.data;
}

/*
 * Returns a string with all properties of a type that are needed to understand
 * its values.  With "as_text", also those that are needed to read the output
 * of its output function.  Palloc'd.
 */
char	   *
type_description(Oid type, bool as_text)
{
	FormData_pg_type form;

	if (!look_up(type, &form))
		return pstrdup("dropped");
	switch (form.typtype)
	{
		case TYPTYPE_COMPOSITE:
			return describe_composite(form.typrelid);
		case TYPTYPE_ENUM:
			return describe_enum(type, as_text);
		case TYPTYPE_DOMAIN:
			return psprintf("domain over %u", form.typbasetype);
		case TYPTYPE_BASE:
			if (as_text)
				return psprintf("base %u %u %u %u", form.typinput,
								form.typoutput, form.typreceive,
								form.typsend);
			pg_fallthrough;
		default:
			return psprintf("%c", form.typtype);
	}
}

/*
 * Returns whether values written when a type had the first description can be
 * understood now that it has the second.
 */
bool
type_description_holds(const char *before, const char *now)
{
	/* labels added to an enum come last, and do not affect the others */
	if (strncmp(before, ENUM_PREFIX, strlen(ENUM_PREFIX)) == 0)
		return strncmp(before, now, strlen(before)) == 0;
	return strcmp(before, now) == 0;
}

/*
 * Returns the relations of the composite types in a list.  Locks on them
 * protect the attributes.
 */
List	   *
type_relations(List *types)
{
	List	   *relids = NIL;
	ListCell   *lc;

	foreach(lc, types)
	{
		Oid			relid = get_typ_typrelid(lfirst_oid(lc));

		if (OidIsValid(relid))
			relids = lappend_oid(relids, relid);
	}
	return relids;
}

/* Returns the enums in a list. */
List	   *
type_enums(List *types)
{
	List	   *enums = NIL;
	ListCell   *lc;

	foreach(lc, types)
	{
		if (type_is_enum(lfirst_oid(lc)))
			enums = lappend_oid(enums, lfirst_oid(lc));
	}
	return enums;
}

/*
 * Returns a string that differs after a label of an enum was renamed, even if
 * it has its old name again.  Returns "" for other types.
 */
char	   *
type_label_versions(Oid type)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	if (type_is_enum(type))
		foreach(lc, list_labels(type))
			appendStringInfo(&buf, " %u",
							 HeapTupleHeaderGetRawXmin(((HeapTuple) lfirst(lc))->t_data));
	return buf.data;
}

/*
 * Returns a type whose text form names other objects, from a type and its
 * parts; or InvalidOid.
 */
Oid
type_naming(Oid type)
{
	ListCell   *lc;

	foreach(lc, all_parts(list_make1_oid(type), true))
	{
		for (int i = 0; i < lengthof(naming_types); i++)
			if (lfirst_oid(lc) == naming_types[i])
				return naming_types[i];
	}
	return InvalidOid;
}

/*
 * Throws if columns of a table have values whose text form names other
 * objects.  These might be renamed between writing and reading the text.
 */
void
type_check_text(Oid relid, const Bitmapset *columns)
{
	int			attnum = -1;

	while ((attnum = bms_next_member(columns, attnum)) >= 0)
	{
		Oid			naming = type_naming(get_atttype(relid, attnum));

		if (OidIsValid(naming))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("definition reads column \"%s\", which contains values of type %s",
							get_attname(relid, attnum, false),
							format_type_be(naming)),
					 errdetail("The output plugin writes the names of the referenced objects, which may be renamed before the names are read."),
					 errhint("Set notify_stats.format = 'notify_stats', or store OIDs or names in a column of type oid or text.")));
	}
}
