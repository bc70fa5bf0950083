package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// player is a Node.js process that plays scenarios one after the other: player.mjs.
// A process for each scenario loads the suite's packages each time, which costs far
// more than the scenario does.
type player struct {
	process *exec.Cmd
	orders  io.WriteCloser
	replies *json.Decoder
	stderr  bytes.Buffer // to be read when the process has ended
}

// players has as many as may play at the same time, but for those that do: nil is one
// that has not begun.
var players = make(chan *player, max(2, runtime.NumCPU()))

func init() {
	for range cap(players) {
		players <- nil
	}
}

// play has a player play what the suite's arguments say, with env added to its
// environment. It returns what the suite printed, and an error unless it exits with 0.
func play(node string, env map[string]string, args ...string) ([]byte, error) {
	p := <-players
	defer func() { players <- p }()
	if p == nil {
		var err error
		if p, err = newPlayer(node); err != nil {
			return nil, err
		}
	}
	order := map[string]any{"args": args, "env": env}
	var reply struct {
		Code int
		Out  string
	}
	limit := time.AfterFunc(2*time.Minute, func() { _ = p.process.Process.Kill() })
	defer limit.Stop()
	err := json.NewEncoder(p.orders).Encode(order)
	if err == nil {
		err = p.replies.Decode(&reply)
	}
	if err != nil {
		err = fmt.Errorf("the suite's process: %w", errors.Join(err, p.end()))
		out := p.stderr.Bytes()
		p = nil
		return out, err
	}
	if reply.Code != 0 {
		err = fmt.Errorf("exit code %d", reply.Code)
	}
	return []byte(reply.Out), err
}

func newPlayer(node string) (*player, error) {
	p := &player{process: exec.Command(node, "player.mjs", suite)}
	p.process.Stderr = &p.stderr
	orders, err := p.process.StdinPipe()
	if err != nil {
		return nil, err
	}
	replies, err := p.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.orders, p.replies = orders, json.NewDecoder(replies)
	if err := p.process.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// end ends a player, whatever a scenario has left open in it.
func (p *player) end() error {
	_ = p.process.Process.Kill()
	return p.process.Wait()
}

// endPlayers ends those that have begun, when no test plays any more.
func endPlayers() {
	for range cap(players) {
		if p := <-players; p != nil {
			_ = p.end()
		}
	}
}

// TestPlayer plays a scenario several times in each player: how it ends, its checks and its
// environment are its own, whatever was played before.
func TestPlayer(t *testing.T) {
	node := nodeProgram(t)
	s := scenario{"auth/metadata-default", "2026-07-28"}
	const exits = "exit $CODE #" // the shell's, with the environment that it is given
	for _, turn := range []struct {
		command string
		env     map[string]string
		exited  string // what the suite prints of a client that fails
		passes  bool
	}{
		{exits, map[string]string{"CODE": "3"}, "Client exited with code 3", false},
		{exits, nil, "", false}, // without a request
		{ways(t)[0].command, nil, "", true},
		{exits, map[string]string{"CODE": "4"}, "Client exited with code 4", false},
	} {
		for range cap(players) {
			all, out, err := drive(t, node, turn.command, s, turn.env)
			failed := slices.ContainsFunc(all, func(c check) bool { return c.Status == "FAILURE" })
			if turn.passes != (err == nil) || turn.passes == failed {
				t.Errorf("%s: it ends with %v, a check failed: %t\n%s", turn.command, err, failed, out)
			}
			exited := strings.Contains(string(out), "Client exited with code")
			if exited != (turn.exited != "") || !strings.Contains(string(out), turn.exited) {
				t.Errorf("%s: of its exit code the suite prints\n%s", turn.command, out)
			}
		}
	}
}
