# Writes TO, a header with the commit of SOURCE:  cmake -D SOURCE=... -D TO=... -P commit.cmake
execute_process(COMMAND git -C "${SOURCE}" describe --always --dirty --abbrev=12 --exclude=* OUTPUT_VARIABLE commit
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT "${TO}" @ONLY CONTENT "#pragma once

namespace bench {
inline constexpr const char* commit = \"${commit}\";
}
")
