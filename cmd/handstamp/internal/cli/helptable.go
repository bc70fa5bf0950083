package cli

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// helpRow is a name and what it is, in a list of the help.
type helpRow struct{ name, text string }

// widestName is how wide the column of names may get: the text of a longer name begins on the
// next line.
const widestName = 32

// table lays rows out in two columns, of which the second is folded.
func table(rows []helpRow, width int) string {
	column := 0
	for _, row := range rows {
		if n := utf8.RuneCountInString(row.name); n <= widestName {
			column = max(column, n)
		}
	}
	margin := "\n" + strings.Repeat(" ", column+4)
	var b strings.Builder
	for _, row := range rows {
		lines := fold(row.text, width-column-4)
		text := strings.Join(lines, margin)
		if utf8.RuneCountInString(row.name) > column {
			fmt.Fprintf(&b, "  %s%s%s\n", row.name, margin, text)
			continue
		}
		fmt.Fprintf(&b, "  %-*s  %s\n", column, row.name, text)
	}
	return b.String()
}

// flagRows describes flags as pflag does.
func flagRows(flags *pflag.FlagSet) []helpRow {
	var rows []helpRow
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		placeholder, text := pflag.UnquoteUsage(f)
		name := "    --" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", --" + f.Name
		}
		if placeholder != "" {
			name += " " + strings.TrimSuffix(placeholder, "Array")
		}
		if !slices.Contains([]string{"", "0", "false", "[]", "0s"}, f.DefValue) {
			text += " (default " + f.DefValue + ")"
		}
		rows = append(rows, helpRow{name, text})
	})
	return rows
}
