package process_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store/filestore"
)

// namespaceVariable says that the process has file systems of its own.
const namespaceVariable = "HANDSTAMP_TEST_NAMESPACE"

// inNamespace runs the test once more in a process that may mount file systems
// which no other user sees. It reports whether this is that process.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespaceVariable) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), namespaceVariable+"=1", "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	output, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("this system gives a process no file systems of its own: %v", err)
	}
	t.Logf("%s", output)
	if err != nil {
		t.Error(err)
	}
	return false
}

// onSmallDisk returns a machine whose credentials are alone on a disk of 64 KiB.
func onSmallDisk(t *testing.T) *testenv.Env {
	t.Helper()
	m := testenv.NewEmptyOnDisk(t, lab.NoneFirst())
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", m.Dir, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(m.Dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	m.Store = m.Open(filestore.Options{})
	return m
}

// fillDisk leaves no space on the disk; free gives it back.
func fillDisk(m *testenv.Env) {
	m.T.Helper()
	file, err := os.Create(m.Dir + "/ballast")
	if err != nil {
		m.T.Fatal(err)
	}
	defer file.Close()
	for err == nil {
		_, err = file.Write(make([]byte, 512))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		m.T.Fatalf("the disk does not get full: %v", err)
	}
}

// fillAlmost leaves space for a record, and not for the response that goes into it.
func fillAlmost(m *testenv.Env) {
	m.T.Helper()
	fillDisk(m)
	info, err := os.Stat(m.Dir + "/ballast")
	if err != nil {
		m.T.Fatal(err)
	}
	if err := os.Truncate(m.Dir+"/ballast", info.Size()-12<<10); err != nil {
		m.T.Fatal(err)
	}
}

func free(m *testenv.Env) {
	m.T.Helper()
	if err := os.Remove(m.Dir + "/ballast"); err != nil {
		m.T.Fatal(err)
	}
}

// remount makes the disk read-only or writable again.
func remount(m *testenv.Env, flags uintptr) {
	m.T.Helper()
	if err := syscall.Mount("tmpfs", m.Dir, "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
		m.T.Fatal(err)
	}
}

// diskFault is what can be wrong with a disk.
type diskFault struct {
	begin, end func(*testenv.Env)
	says       string
	all        bool // no write at all succeeds
}

// underDiskFaults runs a test on a small disk with each of the faults, with a login that has
// expired, once the fault has begun.
func underDiskFaults(t *testing.T, test func(t *testing.T, m *testenv.Env, fault diskFault)) {
	if !inNamespace(t) {
		return
	}
	for name, fault := range diskFaults {
		t.Run(name, func(t *testing.T) {
			m := onSmallDisk(t)
			m.MustCall(m.Session())
			m.Expire()
			fault.begin(m)
			test(t, m, fault)
		})
	}
}

// wantReported checks that a process has said that something could not be written.
func (fault diskFault) wantReported(t *testing.T, p *testenv.Process, text string) {
	t.Helper()
	if fault.all && !slices.ContainsFunc(p.Said, func(line string) bool { return strings.Contains(line, text) }) {
		t.Error("nothing was reported")
	}
}

// diskFaults are disks that can be read, and cannot take a record.
var diskFaults = map[string]diskFault{
	"full":        {fillDisk, free, "no space left", true},
	"almost full": {fillAlmost, free, "no space left", false},
	"read-only":   {func(m *testenv.Env) { remount(m, syscall.MS_RDONLY) }, func(m *testenv.Env) { remount(m, 0) }, "read-only", true},
}

// On a full or read-only disk a good token is used, and a refresh token is not
// used; when the disk is well again, the login goes on as if nothing had been.
// The test catches a refresh that does not make sure of its space, a record that
// is truncated before it is written, and a wait for a lock that cannot be had.
func TestDiskFault(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for name, fault := range diskFaults {
		for need, token := range needs {
			t.Run(name+"/"+need, func(t *testing.T) {
				m := onSmallDisk(t)
				m.MustCall(m.Session())
				token.prepare(m)
				fault.begin(m)
				keepsButCannotSave(m, token.works)
				if err := m.Run(testenv.Job{Do: "refresh"}); !errors.Is(err, handstamp.ErrStore) || !strings.Contains(err.Error(), fault.says) {
					t.Errorf("a forced refresh: error %v, want ErrStore that says %q", err, fault.says)
				}
				m.WantCounts(map[string]int{"token:refresh": 0})
				fault.end(m)
				m.Lab.RevokeAccessTokens()
				m.MustRun()
				m.WantTabs(1)
			})
		}
	}
}

// No browser opens for a login that could not be stored.
func TestDiskFaultBeforeLogin(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for name, fault := range diskFaults {
		t.Run(name, func(t *testing.T) {
			m := onSmallDisk(t)
			fault.begin(m)
			err := m.Run(testenv.Job{Do: "login"})
			if !errors.Is(err, handstamp.ErrStore) || !strings.Contains(err.Error(), fault.says) {
				t.Errorf("error %v, want ErrStore that says %q", err, fault.says)
			}
			m.WantCounts(map[string]int{"authorize": 0, "token:code": 0})
			fault.end(m)
			if err := m.Run(testenv.Job{Do: "login"}); err != nil {
				t.Errorf("when the disk is well again: %v", err)
			}
		})
	}
}

// With a second folder the refresh goes on and other processes find its result;
// it is back in its place with the first write after the fault. The test catches
// a record in the second folder that is forgotten, or taken for newer for ever.
func TestDiskFaultWithSpareFolder(t *testing.T) {
	underDiskFaults(t, func(t *testing.T, m *testenv.Env, fault diskFault) {
		spare := testenv.Job{Do: "call", Spare: t.TempDir() + "/spare"}
		m.Lab.Reset()
		p := m.Start(spare)
		if err := p.Outcome(); err != nil {
			t.Fatalf("%v\n%s", err, m.Diary())
		}
		fault.wantReported(t, p, "notice: ")
		if err := m.Run(spare); err != nil {
			t.Error(err)
		}
		m.WantCounts(map[string]int{"token:refresh": 1})

		fault.end(m)
		m.Lab.RevokeAccessTokens()
		if err := m.Run(spare); err != nil {
			t.Error(err)
		}
		m.MustRun() // it knows nothing of the second folder
		m.WantCounts(map[string]int{"token:refresh": 2})
		m.WantTabs(1)
	})
}

// A long-lived process that would rather go on than stop refreshes although nothing
// can be written, says so, and writes when it can. The test catches a login that
// is dropped from memory, or never written.
func TestDiskFaultInLongLivedProcess(t *testing.T) {
	underDiskFaults(t, func(t *testing.T, m *testenv.Env, fault diskFault) {
		p := m.Start(testenv.Job{Do: "idle", Volatile: true})
		p.Await("idle")
		fault.wantReported(t, p, "COULD NOT BE SAVED")
		m.Lab.RevokeAccessTokens()
		p.Tell("again")
		p.Await("idle") // refreshed from memory
		fault.end(m)
		m.Lab.RevokeAccessTokens()
		p.Tell("again")
		p.Await("idle")
		p.Input.Close()
		if err := p.Outcome(); err != nil {
			t.Error(err)
		}
		m.MustRun()
		m.WantCounts(map[string]int{"token:refresh": 3})
		if a := m.Lab.Audit(); a.Reuses != 0 {
			t.Errorf("%d reuses\n%s", a.Reuses, m.Diary())
		}
		m.WantTabs(1)
	})
}

// Signing out works on a full disk: the record is deleted rather than replaced, and the server
// revokes the tokens. On a read-only disk nothing can be signed out of, and nothing is revoked
// that stays in use.
func TestLogoutOnFullDisk(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for name, fault := range diskFaults {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/keep client %t", name, keep), func(t *testing.T) {
				m := onSmallDisk(t)
				m.MustCall(m.Session())
				m.Expire()
				m.MustRun()
				id := m.StoredRecord().GrantClient().ID
				fault.begin(m)
				m.Lab.Reset()
				result, err := m.Session().Logout(t.Context(), m.Lab.MCPURL(), handstamp.LogoutOptions{KeepClient: keep})
				if name == "read-only" {
					if !errors.Is(err, handstamp.ErrStore) || !strings.Contains(err.Error(), fault.says) {
						t.Errorf("error %v, want ErrStore that says %q", err, fault.says)
					}
					m.WantCounts(map[string]int{"revoke": 0})
					fault.end(m)
					m.MustRun()
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if !result.WasSignedIn || !result.Revoked {
					t.Errorf("result %+v", result)
				}
				m.WantCounts(map[string]int{"revoke": 1})
				fault.end(m)
				left, err := filepath.Glob(m.Dir + "/*.json*")
				if err != nil || len(left) > 0 && !keep {
					t.Errorf("left is %q (%v)", left, err)
				}
				if keep {
					if rec := m.StoredRecord(); rec.Grant != nil || len(rec.Clients) != 1 || rec.Clients[0].ID != id {
						t.Errorf("the record is %v", rec)
					}
				}
				if err := m.Run(testenv.Job{Do: "call"}); !errors.Is(err, handstamp.ErrLoginRequired) {
					t.Errorf("afterwards: %v", err)
				}
			})
		}
	}
}
