// Command worker moves votes from a Redis list into Postgres, where the last
// vote of a voter counts.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"
	_ "github.com/lib/pq"
)

const (
	schema = `CREATE TABLE IF NOT EXISTS votes (voter TEXT PRIMARY KEY, vote TEXT NOT NULL)`
	upsert = `INSERT INTO votes (voter, vote) VALUES ($1, $2) ON CONFLICT (voter) DO UPDATE SET vote = EXCLUDED.vote`
	pause  = time.Second // after a failure
)

type vote struct{ Voter, Vote string }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	for ctx.Err() == nil {
		if err := work(ctx, db, os.Getenv("REDIS_ADDR")); err != nil && ctx.Err() == nil {
			log.Printf("%v; trying again in %s", err, pause)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// work moves votes until something fails or ctx ends.
func work(ctx context.Context, db *sql.DB, redisAddr string) error {
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return err
	}
	conn, err := redis.DialContext(ctx, "tcp", redisAddr)
	if err != nil {
		return err
	}
	defer conn.Close()
	log.Print("worker is connected to Redis and Postgres")
	for ctx.Err() == nil {
		reply, err := redis.ByteSlices(conn.Do("BLPOP", "votes", 1))
		if errors.Is(err, redis.ErrNil) {
			continue
		}
		if err != nil {
			return err
		}
		var v vote
		if err := json.Unmarshal(reply[1], &v); err != nil {
			log.Printf("a vote that is not JSON is thrown away: %q", reply[1])
			continue
		}
		if _, err := db.ExecContext(ctx, upsert, v.Voter, v.Vote); err != nil {
			_, putBack := conn.Do("LPUSH", "votes", reply[1])
			return errors.Join(err, putBack)
		}
		log.Printf("%s votes for %s", v.Voter, v.Vote)
	}
	return nil
}
