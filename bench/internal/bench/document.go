package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// document is a report in order: headings, paragraphs and tables. It is written
// for a terminal or as Markdown.
type document struct{ blocks []block }

type block struct {
	level int // of a heading; 0: none
	text  string
	left  int        // how many columns of the table hold words
	table [][]string // the first row is the header
}

func (d *document) heading(level int, text string) {
	d.blocks = append(d.blocks, block{level: level, text: text})
}

func (d *document) paragraph(format string, args ...any) {
	d.blocks = append(d.blocks, block{text: fmt.Sprintf(format, args...)})
}

// grid adds a table without the columns that have no value in any row. left
// counts the columns of words before those of figures; the last is of words too.
func (d *document) grid(left int, rows [][]string) {
	for c := len(rows[0]) - 1; c >= left; c-- {
		if !slices.ContainsFunc(rows[1:], func(row []string) bool { return row[c] != "–" }) {
			for i, row := range rows {
				rows[i] = slices.Delete(row, c, c+1)
			}
		}
	}
	d.blocks = append(d.blocks, block{left: left, table: rows})
}

func (d *document) markdown(w io.Writer) {
	for i, b := range d.blocks {
		if i > 0 {
			fmt.Fprintln(w)
		}
		switch {
		case b.level > 0:
			fmt.Fprintln(w, strings.Repeat("#", b.level)+" "+b.text)
		case b.table == nil:
			fmt.Fprintln(w, b.text)
		default:
			for i, row := range b.table {
				fmt.Fprintln(w, "| "+strings.Join(row, " | ")+" |")
				if i == 0 {
					figures := max(0, len(row)-b.left-1)
					fmt.Fprintln(w, strings.Repeat("|---", len(row)-figures-1)+strings.Repeat("|---:", figures)+"|---|")
				}
			}
		}
	}
}

// plain writes it for a terminal; an error of w ends it.
func (d *document) plain(w io.Writer) error {
	var b strings.Builder
	for i, block := range d.blocks {
		if i > 0 {
			b.WriteString("\n")
		}
		text := strings.ReplaceAll(block.text, "**", "")
		switch {
		case block.level > 0:
			line := "="
			if block.level > 1 {
				line = "-"
			}
			fmt.Fprintf(&b, "%s\n%s\n", text, strings.Repeat(line, len([]rune(text))))
		case block.table == nil:
			fmt.Fprintln(&b, text)
		default:
			t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
			for _, row := range block.table {
				fmt.Fprintln(t, strings.ReplaceAll(strings.Join(row, "\t"), "**", ""))
			}
			if err := t.Flush(); err != nil {
				return err
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
