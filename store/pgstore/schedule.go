package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/handstamp/handstamp/store"
)

var _ store.Scheduler = (*Database)(nil)

// scheduled returns the beginning of a statement that writes a value by query, with its schedule: both
// are written, or none. The rest of the statement finds the id in the table written.
func (w *put) scheduled(query string, args ...any) (string, []any) {
	query = "WITH written AS (" + query + " RETURNING id), scheduled AS ("
	if w.schedule.Due.IsZero() {
		return query + "DELETE FROM handstamp_due USING written WHERE handstamp_due.id = written.id) ", args
	}
	query += fmt.Sprintf("INSERT INTO handstamp_due AS due (id, due_group, due_at) "+
		"SELECT id, $%d::text, now() + $%d::interval FROM written ON CONFLICT (id) DO UPDATE "+
		"SET due_group = excluded.due_group, due_at = excluded.due_at "+
		"WHERE due.due_group <> excluded.due_group "+
		"OR abs(extract(epoch FROM due.due_at - excluded.due_at)) > 1) ", // second
		len(args)+1, len(args)+2)
	// The time until then, since the database's clock may be another.
	return query, append(args, groupName(w.schedule.Group), time.Until(w.schedule.Due))
}

// maxGroupName is the size of the longest name of a group that is kept as it is: an index takes
// less than 3 KiB, and what a server names must not keep a token from being stored.
const maxGroupName = 255

// groupName returns the name that a group has in the database.
func groupName(group string) string {
	if len(group) <= maxGroupName && isText(group) {
		return group
	}
	sum := sha256.Sum256([]byte(group))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// claimQuery walks the groups by the index, takes of each what is due longest, drops the rows of
// users who were not at work lately, and puts the others off.
const claimQuery = `
WITH RECURSIVE groups AS (
	(SELECT due_group FROM handstamp_due ORDER BY due_group LIMIT 1)
	UNION ALL
	SELECT (SELECT due_group FROM handstamp_due WHERE due_group > groups.due_group
		ORDER BY due_group LIMIT 1)
	FROM groups WHERE groups.due_group IS NOT NULL
), picked AS (
	SELECT due.id, due.used_at >= now() - $4::interval AS used
	FROM groups
	LEFT JOIN unnest($1::text[], $2::int[]) AS taken (due_group, count) USING (due_group)
	CROSS JOIN LATERAL (
		SELECT id, due_at, used_at FROM handstamp_due
		WHERE due_group = groups.due_group AND due_at <= now()
		ORDER BY due_at LIMIT greatest(0, $3 - coalesce(taken.count, 0))
		FOR UPDATE SKIP LOCKED
	) AS due
	ORDER BY due.due_at LIMIT $6
), idle AS (
	DELETE FROM handstamp_due USING picked WHERE handstamp_due.id = picked.id AND NOT picked.used
), claimed AS (
	UPDATE handstamp_due SET due_at = now() + $5::interval FROM picked
	WHERE handstamp_due.id = picked.id AND picked.used
	RETURNING handstamp_due.id, due_group, due_at
)
SELECT (SELECT count(*) FROM picked), tenant, user_name, server, profile, due_group, due_at
FROM (SELECT) AS always LEFT JOIN (claimed JOIN handstamp_credential USING (id)) ON true`

// Claim implements [store.Scheduler].
func (db *Database) Claim(ctx context.Context, o store.ClaimOptions) ([]store.Claim, error) {
	taken := make(map[string]int, len(o.Taken))
	for group, n := range o.Taken {
		taken[group] = n
	}
	var claims []store.Claim
	for len(claims) < o.Max {
		more, picked, err := db.claim(ctx, o, taken, o.Max-len(claims))
		claims = append(claims, more...)
		if err != nil && len(claims) == 0 {
			return nil, unusable(ctx, err)
		}
		if err != nil || picked == len(more) {
			break
		}
		// There were rows of users who are not at work, in the place of others.
		for _, c := range more {
			taken[c.Group]++
		}
	}
	return claims, nil
}

// claim claims max values at most, and returns also how many were looked at.
func (db *Database) claim(
	ctx context.Context, o store.ClaimOptions, taken map[string]int, max int,
) (claims []store.Claim, picked int, err error) {
	groups, counts := make([]string, 0, len(taken)), make([]int32, 0, len(taken))
	for group, n := range taken {
		groups, counts = append(groups, group), append(counts, int32(n))
	}
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Release()
	defer func() { leaveReadOnly(ctx, conn, err) }()
	rows, err := conn.Query(ctx, claimQuery, db.unprepared,
		groups, counts, o.PerGroup, o.UsedWithin, o.For, max)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var tenant, user, server, profile, group *string
		var until *time.Time
		err := rows.Scan(&picked, &tenant, &user, &server, &profile, &group, &until)
		if err != nil {
			return claims, picked, err
		}
		if tenant == nil { // nothing is claimed
			continue
		}
		claims = append(claims, store.Claim{
			Owner: store.Owner{Tenant: *tenant, User: *user},
			Key:   store.Key{Server: *server, Profile: *profile},
			Group: *group, Until: *until,
		})
	}
	return claims, picked, rows.Err()
}

// Release implements [store.Scheduler].
func (db *Database) Release(ctx context.Context, claims []store.Claim, due time.Time) error {
	ids, untils := make([][]byte, len(claims)), make([]time.Time, len(claims))
	for i, c := range claims {
		ids[i] = (&ownedStore{db: db, owner: c.Owner}).id(c.Key)
		untils[i] = c.Until
	}
	query, args := "DELETE FROM handstamp_due AS due", []any{ids, untils}
	using := " USING "
	if !due.IsZero() {
		query, using = "UPDATE handstamp_due AS due SET due_at = now() + $3::interval", " FROM "
		args = append(args, time.Until(due))
	}
	// A row that another replica has at hand is waited for: NoteUse leaves a claim as it is. In the
	// order of the ids no two wait for each other.
	_, err := db.write(ctx, query+using+`(
		SELECT id FROM handstamp_due
		JOIN unnest($1::bytea[], $2::timestamptz[]) AS claim (id, due_at) USING (id, due_at)
		ORDER BY id FOR UPDATE OF handstamp_due
	) AS claim WHERE due.id = claim.id`, args...)
	return err
}

// noteInterval is how often a row is written at most because its user is at work.
const noteInterval = time.Minute / 2

// NoteUse implements [store.Scheduler].
func (db *Database) NoteUse(ctx context.Context, owners []store.Owner) error {
	tenants, users := make([]string, len(owners)), make([]string, len(owners))
	for i, o := range owners {
		tenants[i], users[i] = o.Tenant, o.User
	}
	_, err := db.write(ctx, `UPDATE handstamp_due AS due SET used_at = now() FROM (
		SELECT handstamp_due.id FROM unnest($1::text[], $2::text[]) AS owner (tenant, user_name)
		JOIN handstamp_credential USING (tenant, user_name)
		JOIN handstamp_due ON handstamp_due.id = handstamp_credential.id
		WHERE used_at < now() - $3::interval
		FOR UPDATE OF handstamp_due SKIP LOCKED
	) AS used WHERE due.id = used.id`, tenants, users, noteInterval)
	return err
}
