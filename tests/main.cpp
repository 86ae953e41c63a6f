// The main of every test program: Catch2's, with Kokkos initialised around the tests.

#include <Kokkos_Core.hpp>
#include <catch2/catch_session.hpp>
#include <optional>

int main(int argc, char** argv) {
  Catch::Session session;
  if (int const code = session.applyCommandLine(argc, argv); code != 0) return code;

  // ctest asks for the list of tests after each build, on machines without a GPU too: listing starts no Kokkos.
  auto const& options = session.configData();
  bool const runs_tests = !(options.showHelp || options.libIdentify || options.listTests || options.listTags ||
                            options.listReporters || options.listListeners);
  std::optional<Kokkos::ScopeGuard> kokkos;
  if (runs_tests) kokkos.emplace(Kokkos::InitializationSettings().set_disable_warnings(true));
  return session.run();
}
