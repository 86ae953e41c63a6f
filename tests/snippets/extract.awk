# Turns the C++ blocks of one Markdown page into a source file each:
#   awk -v page=README -v folder=OUT -f extract.awk README.md        prints the names of the files, one per line
#
# What follows `cpp` on the fence says how a block is meant; the page shows the same colours for all of them.
#   ```cpp                      statements: compiled in a function body, with the names of preamble.hpp in scope. Leading
#                               #include lines are kept above it. A block that has a main is a whole program, left as it is.
#   ```cpp declarations         compiled at namespace scope: a policy, a function
#   ```cpp no-compile: REASON   not compiled; the reason is for the reader of the page's source, and must be there

function fail(message) { printf "%s:%d: %s\n", FILENAME, FNR, message > "/dev/stderr"; failed = 1; exit 1 }

function finish(   file, i, head) {
  file = folder "/" page "_" start ".cpp"
  print "#include \"snippets/preamble.hpp\"" > file
  if (body ~ /(^|\n)(int|auto) main\(/) mode = "declarations"
  if (mode != "declarations") {
    head = 1
    for (i = 1; i <= n && (line[i] ~ /^#include/ || line[i] ~ /^ *$/); ++i) print line[i] > file
    print "[[maybe_unused]] static void snippet() {" > file
    first = i
  } else first = 1
  printf "#line %d \"%s\"\n", start + first, FILENAME > file
  for (i = first; i <= n; ++i) print line[i] > file
  if (head) print "}" > file
  close(file)
  print file
}

!inside && /^ *```cpp/ {
  mode = $0
  sub(/^ *```cpp */, "", mode)
  if (mode ~ /^no-compile/ && mode !~ /^no-compile: *[^ ]/) fail("'cpp no-compile' needs a reason: ```cpp no-compile: REASON")
  if (mode != "" && mode != "declarations" && mode !~ /^no-compile/) fail("unknown mark on a cpp block: " mode)
  inside = 1; start = FNR; n = 0; body = ""
  next
}
inside && /^ *```/ { inside = 0; if (mode !~ /^no-compile/) finish(); next }
inside { line[++n] = $0; body = body $0 "\n" }
END { if (!failed && inside) fail("a block is not closed") }
