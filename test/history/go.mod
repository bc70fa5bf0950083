// Not released: it has no tags.
module github.com/handstamp/handstamp/test/history

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/handstamp/handstamp v0.1.0
	github.com/handstamp/handstamp/store/pgstore v0.1.0
	github.com/handstamp/handstamp/store/redisstore v0.1.0
	github.com/jackc/pgx/v5 v5.13.0
	github.com/redis/go-redis/v9 v9.23.0
)
