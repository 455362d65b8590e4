-- Every object of the extension has a comment, for \dx+, \df+ and the like. From 17 on the types that
-- come with another object, of arrays and of rows, are members as well.
SELECT pg_describe_object(classid, objid, objsubid) AS without_comment
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vdist')
  AND obj_description(objid, classid::regclass::name) IS NULL
  AND NOT (classid = 'pg_type'::regclass
           AND (SELECT typrelid <> 0 OR typcategory = 'A' FROM pg_type WHERE oid = objid))
ORDER BY 1;
