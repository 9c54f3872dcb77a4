/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between the server versions 15 to 19, all of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_COMPAT_H
#define NOTIFY_STATS_COMPAT_H

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 200000
#error "notify_stats supports PostgreSQL 15 to 19"
#endif

#if PG_VERSION_NUM >= 190000
#include "nodes/miscnodes.h"
#endif

/*
 * declares a function that SQL calls; before 16, PG_FUNCTION_INFO_V1 exports
 * only the function's info record
 */
#if PG_VERSION_NUM >= 160000
#define sql_function(name) PG_FUNCTION_INFO_V1(name)
#else
#define sql_function(name) \
	PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name)
#endif

/* before 17 the reorder buffer stores tuples in buffers of its own */
#if PG_VERSION_NUM >= 170000
#define change_tuple(buffer) (buffer)
#else
#define change_tuple(buffer) ((buffer) ? &(buffer)->tuple : NULL)
#endif

/*
 * Whether the end of a subtransaction looks through all settings of the server
 * if any is local.
 */
#define LOCAL_SETTINGS_ARE_SLOW (PG_VERSION_NUM < 160000)

/*
 * number of transactions with an xid that have ended since the server started
 */
#if PG_VERSION_NUM >= 170000
#define completed_transactions() (TransamVariables->xactCompletionCount)
#else
#define completed_transactions() (ShmemVariableCache->xactCompletionCount)
#endif

/* whether a slot (struct ReplicationSlot) has been invalidated */
#if PG_VERSION_NUM >= 160000
#define slot_is_invalidated(slot) ((slot)->data.invalidated != RS_INVAL_NONE)
#else
#define slot_is_invalidated(slot) \
	(XLogRecPtrIsInvalid((slot)->data.restart_lsn) && \
	 !XLogRecPtrIsInvalid((slot)->data.invalidated_at))
#endif

/* the setting that caused the invalidation of a slot, or NULL */
#if PG_VERSION_NUM >= 180000
#define slot_invalidated_by(slot) \
	((slot)->data.invalidated == RS_INVAL_IDLE_TIMEOUT ? "idle_replication_slot_timeout" : \
	 (slot)->data.invalidated == RS_INVAL_WAL_REMOVED ? "max_slot_wal_keep_size" : NULL)
#elif PG_VERSION_NUM >= 160000
#define slot_invalidated_by(slot) \
	((slot)->data.invalidated == RS_INVAL_WAL_REMOVED ? "max_slot_wal_keep_size" : NULL)
#else
#define slot_invalidated_by(slot) (slot_is_invalidated(slot) ? "max_slot_wal_keep_size" : NULL)
#endif

/*
 * the time since which a slot has been inactive, and the number of seconds
 * after which it is invalidated; 0: never
 */
#if PG_VERSION_NUM >= 180000
#define slot_inactive_since(slot) ((slot)->inactive_since)
#define idle_slot_timeout() idle_replication_slot_timeout_secs
#else
#define slot_inactive_since(slot) 0
#define idle_slot_timeout() 0
#endif

/* the file of a relation, as a record of the WAL names it */
#if PG_VERSION_NUM >= 160000
#define WalRelation RelFileLocator
#define wal_relation_database(relation) ((relation).dbOid)
#define wal_relation_number(relation) ((relation).relNumber)
#define relation_file(relation) ((relation)->rd_locator)
#else
#define WalRelation RelFileNode
#define wal_relation_database(relation) ((relation).dbNode)
#define wal_relation_number(relation) ((relation).relNode)
#define relation_file(relation) ((relation)->rd_node)
#endif

/*
 * the process that has acquired a slot, its pid (0: none), and whether it is
 * this process; the server may change the holder at any time
 */
#if PG_VERSION_NUM >= 190000
#define SlotHolder ProcNumber
#define slot_holder(slot) ((slot)->active_proc)
#define slot_holder_pid(holder) \
	((holder) == INVALID_PROC_NUMBER ? 0 : GetPGProcByNumber(holder)->pid)
#define slot_is_ours(slot) ((slot)->active_proc == MyProcNumber)
#else
#define SlotHolder pid_t
#define slot_holder(slot) ((slot)->active_pid)
#define slot_holder_pid(holder) (holder)
#define slot_is_ours(slot) ((slot)->active_pid == MyProcPid)
#endif

/*
 * failover slots; and whether the standbys have received the WAL up to an LSN
 */
#if PG_VERSION_NUM >= 170000
#define FAILOVER_SLOTS true
#define slot_is_failover(slot) ((slot)->data.failover)
#define standbys_have(lsn, elevel) StandbySlotsHaveCaughtup(lsn, elevel)
#define STANDBY_SLOTS_SETTING "synchronized_standby_slots"
#else
#define FAILOVER_SLOTS false
#define slot_is_failover(slot) false
#define standbys_have(lsn, elevel) true
#define STANDBY_SLOTS_SETTING NULL
#endif

/* makes a slot that nobody has one that standbys take over, or not */
#if PG_VERSION_NUM >= 180000
#define alter_slot_failover(name, failover) ReplicationSlotAlter(name, &(failover), NULL)
#elif PG_VERSION_NUM >= 170000
#define alter_slot_failover(name, failover) ReplicationSlotAlter(name, failover)
#else
#define alter_slot_failover(name, failover) ((void) (name), (void) (failover))
#endif

/*
 * whether a subcommand of ALTER TABLE recomputes a column in all rows without
 * row changes in the WAL
 */
#if PG_VERSION_NUM >= 170000
#define recomputes_column(subtype) ((subtype) == AT_SetExpression)
#else
#define recomputes_column(subtype) false
#endif

/*
 * a hash table by all columns of a virtual tuple, with everything in one
 * context
 */
#if PG_VERSION_NUM >= 180000
#define build_tuple_hash_table(desc, ncolumns, columns, eq_functions, hash_functions, \
							   collations, additional_size, context, temp_context) \
	BuildTupleHashTable(NULL, desc, &TTSOpsVirtual, ncolumns, columns, eq_functions, \
						hash_functions, collations, 64, additional_size, \
						context, context, temp_context, false)
#define tuple_hash_entry_tuple(entry) TupleHashEntryGetTuple(entry)
#define tuple_hash_entry_additional(table, entry, size) \
	TupleHashEntryGetAdditional(table, entry)
#else
#define build_tuple_hash_table(desc, ncolumns, columns, eq_functions, hash_functions, \
							   collations, additional_size, context, temp_context) \
	BuildTupleHashTable(NULL, desc, ncolumns, columns, eq_functions, \
						hash_functions, collations, 64, additional_size, \
						context, temp_context, false)
#define tuple_hash_entry_tuple(entry) ((entry)->firstTuple)
/* zeroed on first use, as 18 does by itself */
#define tuple_hash_entry_additional(table, entry, size) \
	((entry)->additional ? (entry)->additional : \
	 ((entry)->additional = MemoryContextAllocZero((table)->tablecxt, size)))
#endif

/* fetches the next value of a sort of values that are passed by value */
#if PG_VERSION_NUM >= 160000
#define sort_next_datum(sort, value, isnull) \
	tuplesort_getdatum(sort, true, false, value, isnull, NULL)
#else
#define sort_next_datum(sort, value, isnull) \
	tuplesort_getdatum(sort, true, value, isnull, NULL)
#endif

/* whether a role owns a relation */
#if PG_VERSION_NUM >= 160000
#define owns_relation(relid, roleid) object_ownercheck(RelationRelationId, relid, roleid)
#else
#define owns_relation(relid, roleid) pg_class_ownercheck(relid, roleid)
#endif

/* whether a role owns a database, or may put something into a tablespace */
#if PG_VERSION_NUM >= 160000
#define owns_database(database, roleid) object_ownercheck(DatabaseRelationId, database, roleid)
#define may_create_in_tablespace(tablespace, roleid) \
	(object_aclcheck(TableSpaceRelationId, tablespace, roleid, ACL_CREATE) == ACLCHECK_OK)
#else
#define owns_database(database, roleid) pg_database_ownercheck(database, roleid)
#define may_create_in_tablespace(tablespace, roleid) \
	(pg_tablespace_aclcheck(tablespace, roleid, ACL_CREATE) == ACLCHECK_OK)
#endif

/*
 * throws if the tables of a query may not be read; does not check its
 * subqueries
 */
#if PG_VERSION_NUM >= 160000
#define check_query_permissions(query) \
	((void) ExecCheckPermissions((query)->rtable, (query)->rteperminfos, true))
#else
#define check_query_permissions(query) ((void) ExecCheckRTPerms((query)->rtable, true))
#endif

/* a wait event of our own; since 17 pg_stat_activity shows it by its name */
#if PG_VERSION_NUM >= 170000
#define new_wait_event(name) WaitEventExtensionNew(name)
#else
#define new_wait_event(name) PG_WAIT_EXTENSION
#endif

/* a prefix since 18, as C11 requires */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* since 19 comments are not enough for the compiler */
#if PG_VERSION_NUM < 190000
#if __has_attribute(fallthrough)
#define pg_fallthrough __attribute__((fallthrough))
#else
#define pg_fallthrough ((void) 0)
#endif
#endif

/* completes a row type whose columns were set one by one; required since 19 */
#if PG_VERSION_NUM < 190000
#define TupleDescFinalize(desc) ((void) (desc))
#endif

/*
 * the target list in terms of FROM, also if the parser has added an RTE_GROUP
 */
#if PG_VERSION_NUM >= 180000
#define query_target_list(query) \
	((query)->hasGroupRTE ? \
	 (List *) flatten_group_exprs(NULL, unconstify(Query *, query), \
								  (Node *) (query)->targetList) : \
	 (query)->targetList)
#else
#define query_target_list(query) ((query)->targetList)
#endif

/* refers to group expressions as before 18, by the expressions */
#if PG_VERSION_NUM >= 180000
#define flatten_group_columns(query) \
	do { \
		if ((query)->hasGroupRTE) \
		{ \
			(query)->targetList = (List *) \
				flatten_group_exprs(NULL, query, (Node *) (query)->targetList); \
			(query)->havingQual = \
				flatten_group_exprs(NULL, query, (query)->havingQual); \
			(query)->hasGroupRTE = false; \
		} \
	} while (0)
#else
#define flatten_group_columns(query) ((void) (query))
#endif

/* since 16 a column tells which outer joins it passes through */
#if PG_VERSION_NUM >= 160000
#define forget_nulling_relations(var) ((var)->varnullingrels = NULL)
#else
#define forget_nulling_relations(var) ((void) (var))
#endif

/* replaces the columns of joins in an expression by those of the joined items */
#if PG_VERSION_NUM >= 160000
#define flatten_join_columns(query, node) flatten_join_alias_vars(NULL, query, node)
#else
#define flatten_join_columns(query, node) flatten_join_alias_vars(query, node)
#endif

/* lists the columns of a FROM item: their names, and Vars */
#if PG_VERSION_NUM >= 180000
#define expand_rte(rte, rtindex, names, vars) \
	expandRTE(rte, rtindex, 0, VAR_RETURNING_DEFAULT, -1, false, names, vars)
#else
#define expand_rte(rte, rtindex, names, vars) \
	expandRTE(rte, rtindex, 0, -1, false, names, vars)
#endif

/*
 * whether the column has no nulls; since 18 a NOT NULL constraint can be NOT
 * VALID
 */
#if PG_VERSION_NUM >= 180000
#define attribute_is_not_null(tupdesc, attnum) \
	(TupleDescCompactAttr(tupdesc, (attnum) - 1)->attnullability == ATTNULLABLE_VALID)
#else
#define attribute_is_not_null(tupdesc, attnum) \
	(TupleDescAttr(tupdesc, (attnum) - 1)->attnotnull)
#endif

/*
 * how an operator compares, in each operator family; NIL: it does not.  The
 * strategies are those of btree, which the types of comparison are equal to.
 */
#if PG_VERSION_NUM >= 180000
#define operator_comparisons(operator) get_op_index_interpretation(operator)
#define comparison_strategy(comparison) ((int) ((OpIndexInterpretation *) (comparison))->cmptype)
#else
#define operator_comparisons(operator) get_op_btree_interpretation(operator)
#define comparison_strategy(comparison) (((OpBtreeInterpretation *) (comparison))->strategy)
#endif

/* the list of registered background workers in the postmaster */
#if PG_VERSION_NUM >= 180000
#define background_worker_iter dlist_iter
#define foreach_background_worker(iter) dlist_foreach(iter, &BackgroundWorkerList)
#else
#define background_worker_iter slist_iter
#define foreach_background_worker(iter) slist_foreach(iter, &BackgroundWorkerList)
#endif

/*
 * SQL/JSON: query functions (JSON_VALUE and the like) exist since 17, the
 * other node types since 16
 */
#if PG_VERSION_NUM >= 170000
#define is_json_query(node) IsA(node, JsonExpr)
#define is_json_part(node) \
	(IsA(node, JsonIsPredicate) || IsA(node, JsonValueExpr) || IsA(node, JsonBehavior))
#elif PG_VERSION_NUM >= 160000
#define is_json_query(node) ((void) (node), false)
#define is_json_part(node) (IsA(node, JsonIsPredicate) || IsA(node, JsonValueExpr))
#else
#define is_json_query(node) ((void) (node), false)
#define is_json_part(node) ((void) (node), false)
#endif

/* generated columns were all stored before 18 */
#ifndef ATTRIBUTE_GENERATED_VIRTUAL
#define ATTRIBUTE_GENERATED_VIRTUAL 'v'
#endif

/*
 * whether publications contain all generated columns of the replica identity;
 * if not, servers since 18 refuse updates and deletes
 */
#if PG_VERSION_NUM >= 180000
#define publishes_generated_identity(desc) \
	((desc)->gencols_valid_for_update && (desc)->gencols_valid_for_delete)
#else
#define publishes_generated_identity(desc) ((void) (desc), true)
#endif

/* the generated columns that pgoutput publishes: the stored ones, since 18 */
#if PG_VERSION_NUM >= 180000
#define PUBLISHES_GENERATED_COLUMNS true
#define PUBLICATION_OPTIONS ", publish_generated_columns = stored"
#else
#define PUBLISHES_GENERATED_COLUMNS false
#define PUBLICATION_OPTIONS ""
#endif

/*
 * the lowest wal_level with which WAL can be decoded; with replica, since 19,
 * the server writes what decoding needs while a logical slot exists
 */
#if PG_VERSION_NUM >= 190000
#define LOWEST_WAL_LEVEL WAL_LEVEL_REPLICA
#define LOWEST_WAL_LEVEL_NAME "replica"
#else
#define LOWEST_WAL_LEVEL WAL_LEVEL_LOGICAL
#define LOWEST_WAL_LEVEL_NAME "logical"
#endif

/* throws if this server or database cannot decode WAL */
#if PG_VERSION_NUM >= 190000
#define check_logical_decoding() CheckLogicalDecodingRequirements(false)
#else
#define check_logical_decoding() CheckLogicalDecodingRequirements()
#endif

/* creates a logical slot that this process alone uses, and acquires it */
#if PG_VERSION_NUM >= 190000
#define create_temporary_slot(name) \
	ReplicationSlotCreate(name, true, RS_TEMPORARY, false, false, false, false)
#elif PG_VERSION_NUM >= 170000
#define create_temporary_slot(name) \
	ReplicationSlotCreate(name, true, RS_TEMPORARY, false, false, false)
#else
#define create_temporary_slot(name) \
	ReplicationSlotCreate(name, true, RS_TEMPORARY, false)
#endif

/* acquires a slot for this process; throws if another process has it */
#if PG_VERSION_NUM >= 180000
#define acquire_slot(name) ReplicationSlotAcquire(name, true, true)
#else
#define acquire_slot(name) ReplicationSlotAcquire(name, true)
#endif

/* Finds the process of a subscription that applies changes. */
#if PG_VERSION_NUM >= 190000
#define apply_worker_find(subid) \
	logicalrep_worker_find(WORKERTYPE_APPLY, subid, InvalidOid, true)
#else
#define apply_worker_find(subid) logicalrep_worker_find(subid, InvalidOid, true)
#endif

/* 19 has spelled these out. */
#if PG_VERSION_NUM < 190000
#define ReplOriginId RepOriginId
#define InvalidReplOriginId InvalidRepOriginId
#endif

/* plans a query without parameters */
#if PG_VERSION_NUM >= 190000
#define plan_query(query, text) pg_plan_query(query, text, 0, NULL, NULL)
#else
#define plan_query(query, text) pg_plan_query(query, text, 0, NULL)
#endif

/* the index in the range table of the only table that a plan writes, or 0 */
#if PG_VERSION_NUM >= 190000
#define plan_written_table(plan) \
	(bms_membership((plan)->resultRelationRelids) == BMS_SINGLETON ? \
	 bms_singleton_member((plan)->resultRelationRelids) : 0)
#else
#define plan_written_table(plan) \
	(list_length((plan)->resultRelations) == 1 ? \
	 linitial_int((plan)->resultRelations) : 0)
#endif

/* runs a started query to completion */
#if PG_VERSION_NUM >= 180000
#define executor_run(query) ExecutorRun(query, ForwardScanDirection, 0)
#else
#define executor_run(query) ExecutorRun(query, ForwardScanDirection, 0, true)
#endif

/* starts a scan of a whole table */
#if PG_VERSION_NUM >= 190000
#define begin_table_scan(table, snapshot) table_beginscan(table, snapshot, 0, NULL, SO_NONE)
#else
#define begin_table_scan(table, snapshot) table_beginscan(table, snapshot, 0, NULL)
#endif

/* starts an index scan with the given number of keys */
#if PG_VERSION_NUM >= 190000
#define begin_index_scan(table, index, snapshot, nkeys) \
	index_beginscan(table, index, snapshot, NULL, nkeys, 0, SO_NONE)
#elif PG_VERSION_NUM >= 180000
#define begin_index_scan(table, index, snapshot, nkeys) \
	index_beginscan(table, index, snapshot, NULL, nkeys, 0)
#else
#define begin_index_scan(table, index, snapshot, nkeys) \
	index_beginscan(table, index, snapshot, nkeys, 0)
#endif

/* removes dead versions of rows from a page */
#if PG_VERSION_NUM >= 190000
#define prune_page(table, buffer) \
	do { \
		Buffer		visibility_map = InvalidBuffer; \
		heap_page_prune_opt(table, buffer, &visibility_map, false); \
		if (BufferIsValid(visibility_map)) \
			ReleaseBuffer(visibility_map); \
	} while (0)
#else
#define prune_page(table, buffer) heap_page_prune_opt(table, buffer)
#endif

/* deletes a row, unless another transaction has changed it; does not wait */
#if PG_VERSION_NUM >= 190000
#define delete_if_free(table, address, command, failure) \
	heap_delete(table, address, command, 0, InvalidSnapshot, false, failure)
#else
#define delete_if_free(table, address, command, failure) \
	heap_delete(table, address, command, InvalidSnapshot, false, failure, false)
#endif

/* the first record at a position or after it */
#if PG_VERSION_NUM >= 190000
#define find_next_record(reader, lsn) XLogFindNextRecord(reader, lsn, &(char *) {NULL})
#else
#define find_next_record(reader, lsn) XLogFindNextRecord(reader, lsn)
#endif

/*
 * the publications that list a table; since 19 others may list it as an
 * exception
 */
#if PG_VERSION_NUM >= 190000
#define publications_of_table(relid) GetRelationIncludedPublications(relid)
#else
#define publications_of_table(relid) GetRelationPublications(relid)
#endif

/* since 16 the functions that the JSON parser calls return an error code */
#if PG_VERSION_NUM >= 160000
#define JSON_ACTION_RESULT JsonParseErrorType
#define JSON_ACTION_DONE return JSON_SUCCESS
#else
#define JSON_ACTION_RESULT void
#define JSON_ACTION_DONE return
#endif

#if PG_VERSION_NUM >= 170000
#define make_json_lexer(json, len, encoding) \
	makeJsonLexContextCstringLen(NULL, json, len, encoding, true)
#else
#define make_json_lexer(json, len, encoding) \
	makeJsonLexContextCstringLen(json, len, encoding, true)
#endif

/* how the server writes a position, for LSN_FORMAT_ARGS() */
#if PG_VERSION_NUM >= 190000
#define LSN_FORMAT "%X/%08X"
#else
#define LSN_FORMAT "%X/%X"
#endif

/* reads a position; InvalidXLogRecPtr if the text is not one */
#if PG_VERSION_NUM >= 190000
#define parse_lsn(text) \
	pg_lsn_in_safe(text, (Node *) &(ErrorSaveContext) {.type = T_ErrorSaveContext})
#else
#define parse_lsn(text) pg_lsn_in_internal(text, &(bool) {false})
#endif

/*
 * how AT TIME ZONE reads an abbreviation, which is in lower case; the type is
 * UNKNOWN_FIELD if it is none
 */
#if PG_VERSION_NUM >= 160000
#define decode_time_zone_abbrev(name, type, offset, zone) \
	DecodeTimezoneAbbrev(0, name, type, offset, zone, &(DateTimeErrorExtra) {0})
#else
#define decode_time_zone_abbrev(name, type, offset, zone) \
	(*(type) = DecodeTimezoneAbbrev(0, name, offset, zone))
#endif

/* functions that older servers lack */
#if PG_VERSION_NUM < 160000
#define F_DATE_ADD_TIMESTAMPTZ_INTERVAL InvalidOid
#define F_DATE_ADD_TIMESTAMPTZ_INTERVAL_TEXT InvalidOid
#define F_DATE_SUBTRACT_TIMESTAMPTZ_INTERVAL InvalidOid
#define F_DATE_SUBTRACT_TIMESTAMPTZ_INTERVAL_TEXT InvalidOid
#endif
#if PG_VERSION_NUM < 170000
#define F_TIMEZONE_TIMESTAMPTZ InvalidOid
#define F_TIMEZONE_TIMESTAMP InvalidOid
#endif

/* before 17 there are no infinite intervals */
#if PG_VERSION_NUM >= 170000
#define interval_is_infinite(interval) INTERVAL_NOT_FINITE(interval)
#else
#define interval_is_infinite(interval) false
#endif

#endif							/* NOTIFY_STATS_COMPAT_H */
