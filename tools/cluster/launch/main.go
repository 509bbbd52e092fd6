// Command launch becomes another program, after it has let go of every file that it inherited beside
// stdin, stdout and stderr.
//
// What runs on after `cargo xtask` has ended must not hold a lock of whoever called that.
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "launch:", err)
		os.Exit(1)
	}
}

func run(command []string) error {
	if len(command) == 0 {
		return fmt.Errorf("no program is named")
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		file, err := strconv.Atoi(entry.Name())
		if err != nil {
			return err
		}
		if file > 2 {
			syscall.CloseOnExec(file)
		}
	}
	return syscall.Exec(command[0], command, os.Environ())
}
