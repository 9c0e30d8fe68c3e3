
/*
 * Copyright (C) The WebTransport for nginx authors
 */

/*
 * Linked into the sanitizer build, so that it runs in the same way from the
 * tests, under a debugger and by hand.  ASAN_OPTIONS and the like still
 * override what is here.
 */


#include <stdint.h>
#include <stddef.h>


#define PROCESS_WORKER  3      /* NGX_PROCESS_WORKER */


const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
int __lsan_is_turned_off(void);
int dlclose(void *handle);


/* nginx's; weak, because configure's test programs are linked with this, too */

extern uintptr_t  ngx_process __attribute__((weak));


const char *
__asan_default_options(void)
{
    /* every dynamic module of nginx has its own "ngx_module_names" */

    return "detect_odr_violation=0";
}


const char *
__ubsan_default_options(void)
{
    return "print_stacktrace=1:suppressions=" UBSAN_SUPPRESSIONS;
}


int
__lsan_is_turned_off(void)
{
    /*
     * Only workers free what they allocated.  "nginx -t", "nginx -s" and
     * the master leave their configuration to the kernel.
     */

    return &ngx_process == NULL || ngx_process != PROCESS_WORKER;
}


int
dlclose(void *handle)
{
    /* a report at exit must still find the names of the module's functions */

    (void) handle;

    return 0;
}
