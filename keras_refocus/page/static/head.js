// Who had to log in can log out.
refocus.translate(element);
const leave = element.querySelector('.rf-logout');
leave.href = refocus.url('logout');
leave.hidden = !(window.gradio_config && window.gradio_config.username);
