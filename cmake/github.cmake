# Talks to GitHub without letting a missing network become a CMake error.
#
# Included, it gives moe_github_reached(<variable>). Run as a script, it downloads one file:
#   cmake -D URL=... -D SHA256=... -D TO=... -P github.cmake        fails if it cannot be had, or has another hash

function(moe_github_reached result)
  get_property(known GLOBAL PROPERTY moe_github_reached)
  if(NOT known)
    # The time limit matters: a firewall that drops packets would otherwise hold the build for minutes.
    file(DOWNLOAD https://github.com/robots.txt STATUS status TIMEOUT 8)
    list(GET status 0 code)
    string(COMPARE EQUAL "${code}" "0" known)
    string(REPLACE 0 FALSE known "${known}")
    string(REPLACE 1 TRUE known "${known}")
    set_property(GLOBAL PROPERTY moe_github_reached ${known})
  endif()
  set(${result} ${known} PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  moe_github_reached(reached)
  if(NOT reached)
    message(FATAL_ERROR "github.com is not reached")
  endif()
  if(URL)
    file(DOWNLOAD "${URL}" "${TO}" EXPECTED_HASH SHA256=${SHA256} INACTIVITY_TIMEOUT 30)
  endif()
endif()
