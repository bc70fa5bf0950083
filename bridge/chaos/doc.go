// Package chaos puts the bridge between a random MCP host and a random MCP server
// and checks what must hold whatever the two do: each request has exactly one
// response, no call is carried out twice, the bridge ends within 5 s, and the
// server gets no more than a bounded number of requests a second.
//
// A run is drawn from its seed alone. It takes place in a bubble of
// [testing/synctest] on a network in memory: minutes of waiting cost nothing, a
// busy machine changes nothing, and a goroutine that is left behind is seen.
//
//	make chaos                               2,000 new runs with the race detector, then the mutants
//	go test ./bridge/chaos                   100 runs
//	CHAOS_SEED=n go test -v ./bridge/chaos   run n, with its transcript
package chaos
