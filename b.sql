set max_parallel_workers_per_gather=0;
set jit=off;
select v as qd from d384 limit 1 \gset
\timing on
select count(x.v operator(public.<+>) :'qd') from s384 x, generate_series(1,100);
select count(x.v operator(pgv.<+>) :'qd') from sp384 x, generate_series(1,100);
select count(x.v) from s384 x, generate_series(1,100);
select count(x.v operator(public.<+>) :'qd') from s384 x, generate_series(1,100);
select count(x.v operator(pgv.<+>) :'qd') from sp384 x, generate_series(1,100);
select count(x.v) from s384 x, generate_series(1,100);
select count(x.v operator(public.<+>) :'qd') from s384 x, generate_series(1,100);
select count(x.v operator(pgv.<+>) :'qd') from sp384 x, generate_series(1,100);
select count(x.v) from s384 x, generate_series(1,100);
select count(x.v operator(public.<+>) :'qd') from s384 x, generate_series(1,100);
select count(x.v operator(pgv.<+>) :'qd') from sp384 x, generate_series(1,100);
select count(x.v) from s384 x, generate_series(1,100);
select count(x.v operator(public.<+>) :'qd') from s384 x, generate_series(1,100);
select count(x.v operator(pgv.<+>) :'qd') from sp384 x, generate_series(1,100);
select count(x.v) from s384 x, generate_series(1,100);
