# make quickstart on a small text: what it prints, that a second run keeps what is there, that it cleans
# up, and what it says when something is wrong.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
local $ENV{VDIST_DIR} = "$dir/quickstart";
local $ENV{CORPUS} = "$dir/corpus.txt";
delete @ENV{qw(PGHOST PGPORT PGDATABASE)};

# Lines that COPY, psql or a text type could stumble over; two of these hold no document.
my @lines = (
	"\\.", "", "a tab\there and \"quotes\" and 'more' and \\backslash",
	"not UTF-8: \xff\xfe, but a text", "controls \x01 and \x02 within", "the and of",
	"rabbitmq: message queue broker", "activemq: a broker for messages", "a chess game",
	map { "filler number$_ text$_" } 1 .. 300);
open my $fh, '>:raw', $ENV{CORPUS} or die $!;
print $fh map { "$_\n" } @lines;
close $fh;

my ($rc, $out) = quickstart();
is($rc, 0, 'it runs') or diag($out);
like($out, qr/^quickstart: OK, 307 documents on 4 shards in \d+ s$/m, 'every document is there');
like($out, qr/Foreign Scan.*Shard shard1: rows=.*Shard shard4: rows=/s, 'EXPLAIN names the shards');

($rc, $out) = quickstart("broker of messages, isn't it?");
is($rc, 0, 'it runs again');
unlike($out, qr/into vectors/, 'without loading again');
like($out, qr/\n +0\.\d+ \| activemq.*\n +0\.\d+ \| rabbitmq/, 'and finds');

# psql as the last lines show it.
my ($psql) = $out =~ /^Connect:\s+(.*)$/m;
is(qx{$psql -XAtc 'SELECT count(*) FROM documents'}, "307\n", 'the line to connect with');

($rc, $out) = quickstart('', 'make', '-s', 'quickstart-stop');
is($rc, 0, 'it stops');
ok(!-e $ENV{VDIST_DIR}, 'and leaves nothing');

$ENV{CORPUS} = "$dir/missing.txt";
($rc, $out) = quickstart();
isnt($rc, 0, 'a missing text is an error');
like($out, qr/cannot read .*missing\.txt.*quickstart: FAILED at: read the text/s, 'that is told');
system('make', '-s', 'quickstart-stop');

done_testing();

sub quickstart
{
	my ($query, @command) = @_;
	local $ENV{QUERY} = $query // '';
	@command = ('docker/local/quickstart') if !@command;
	my $output = '';
	my $ok = IPC::Run::run(\@command, '>&', \$output, '<', \undef);
	return ($ok ? 0 : 1, $output);
}
