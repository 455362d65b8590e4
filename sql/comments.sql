-- Every object of the extension has a comment, for \dx+, \df+ and the like.
SELECT pg_describe_object(classid, objid, objsubid) AS without_comment
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vdist')
  AND obj_description(objid, classid::regclass::name) IS NULL
ORDER BY 1;
