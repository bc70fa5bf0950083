//go:build unix

package servicetest

import (
	"fmt"
	"strconv"
	"testing"
)

// clusterSlots is how many slots a Redis Cluster has.
const clusterSlots = 16384

// StartRedisCluster starts a Redis Cluster of three servers that share the slots.
func StartRedisCluster(t testing.TB) []*Redis {
	t.Helper()
	const servers = 3
	ports := freePorts(t, 2*servers)
	nodes := make([]*Redis, servers)
	for i := range nodes {
		bus := ports[servers+i]
		nodes[i] = startRedis(t, "redis", ports[i], "--cluster-enabled", "yes", "--cluster-port", bus,
			"--cluster-announce-ip", "127.0.0.1", "--cluster-node-timeout", "60000")
		nodes[i].Command("cluster", "addslotsrange",
			strconv.Itoa(i*clusterSlots/servers), strconv.Itoa((i+1)*clusterSlots/servers-1))
		nodes[i].Command("cluster", "set-config-epoch", strconv.Itoa(i+1))
		if i > 0 {
			nodes[0].Command("cluster", "meet", "127.0.0.1", ports[i], bus)
		}
	}
	for _, node := range nodes {
		node.await("cluster info", "cluster_state:ok")
		node.await("cluster info", fmt.Sprintf("cluster_known_nodes:%d", servers))
	}
	return nodes
}
